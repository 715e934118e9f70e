//! The pages of the `WebHDFS` dashboard stay under their prefix; the answers of the API are nobody's to change.

use crate::support::{Cluster, Upstream, reply, sides};

#[tokio::test]
async fn other_answers_of_the_api_pass_as_they_are() {
    let status = r#"{"FileStatuses":{"FileStatus":[{"pathSuffix":"/webhdfs/v1/x","href":"/jmx?qry=a"}]}}"#;
    let missing = r#"{"RemoteException":{"exception":"FileNotFoundException"}}"#;
    let upstream = Upstream::named("webhdfs")
        .at("/webhdfs/v1/there", reply(200).json(status))
        .at("/webhdfs/v1/nowhere", reply(404).json(missing))
        .at("/webhdfs/v1/failing", reply(500).text("no luck"));
    let cluster = Cluster::with([upstream]).await;
    let pylon = cluster.pylon().start().await;
    pylon.get("/webhdfs/api/v1/there?op=LISTSTATUS").await.expect(200, status);
    pylon.get("/webhdfs/api/v1/nowhere?op=LISTSTATUS").await.expect(404, missing);
    pylon.get("/webhdfs/webhdfs/v1/failing").await.expect(500, "no luck");
}

/// What the dashboard's pages and scripts say, and what becomes of it; `BASE` is `<scheme>://<Host>/webhdfs/`.
const DASHBOARD: &[(&str, &str)] = &[
    (r#"<a href="/explorer.html#/">"#, r#"<a href="BASEexplorer.html#/">"#),
    (r#"<link href="/static/hadoop.css">"#, r#"<link href="BASEstatic/hadoop.css">"#),
    (r#"<a href="/">"#, r#"<a href="BASE">"#),
    (r#"<script src="/static/jquery.js">"#, r#"<script src="BASEstatic/jquery.js">"#),
    (r"$.get('/jmx?qry=Hadoop:service=NameNode')", r"$.get('BASEjmx?qry=Hadoop:service=NameNode')"),
    (r"'url': '/conf',", r"'url': 'BASEconf',"),
    (r"$.get('/startupProgress', f)", r"$.get('BASEstartupProgress', f)"),
    (r"var url = '/webhdfs/v1' + path;", r"var url = '/webhdfs/api/v1' + path;"),
    ("nothing to see", "nothing to see"),
    (r#"<a href="explorer.html"> /conf /startupProgress"#, r#"<a href="explorer.html"> /conf /startupProgress"#),
    (r#"<img src="/logo.png">"#, r#"<img src="/logo.png">"#),
];

#[tokio::test]
async fn the_links_of_the_dashboard_stay_under_its_prefix() {
    let (sent, expected) = sides(DASHBOARD);
    let upstream = Upstream::named("webhdfs")
        .at("/x.html", reply(200).html(&sent))
        .at("/x.js", reply(200).body("application/javascript", &sent))
        .at("/y.js", reply(200).body("text/javascript; charset=utf-8", &sent))
        .at("/x.json", reply(200).json(&sent));
    let cluster = Cluster::with([upstream]).await;
    let pylon = cluster.pylon().start().await;
    for (path, host) in [("x.html", "pylon.example"), ("x.js", "pylon.example:8080"), ("y.js", "x"), ("x.json", "y")] {
        let response = pylon.request("GET", &format!("/webhdfs/{path}")).host(host).send().await;
        response.expect(200, &expected.replace("BASE", &format!("http://{host}/webhdfs/")));
    }
}
