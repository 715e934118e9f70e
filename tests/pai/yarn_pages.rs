//! The links in YARN's pages stay under `/yarn/host:port/`.

use crate::support::{Cluster, Upstream, reply, sides};

fn manager() -> Upstream {
    Upstream::named("yarn")
}

/// What a page says, and what becomes of it; `YARN` is `http://<Host>/yarn`.
const PAGE: &[(&str, &str)] = &[
    (r#"<link href="/static/yarn.css">"#, r#"<link href="static/yarn.css">"#),
    (r#"<script src="/static/jquery.js">"#, r#"<script src="static/jquery.js">"#),
    (r#"<img src="/logo.png">"#, r#"<img src="/logo.png">"#),
    (r#"<a href="/cluster/apps">"#, r#"<a href="cluster/apps">"#),
    (r"<a href='/cluster/nodes'>", r"<a href='cluster/nodes'>"),
    (r#"<a href="/">"#, r#"<a href="">"#),
    (r#"<a href="http://nm-1:8042">"#, r#"<a href="YARN/nm-1:8042/node">"#),
    (r"<a href='http://nm-1:8042'>", r"<a href='YARN/nm-1:8042/node'>"),
    (r#"<a href="http://nm-1:8042/node/logs">"#, r#"<a href="YARN/nm-1:8042/node/logs">"#),
    (r"<a href='http://nm-1:8042/node/logs'>", r"<a href='YARN/nm-1:8042/node/logs'>"),
    (r#"<a href="http://10.0.0.5:8088">"#, r#"<a href="YARN/10.0.0.5:8088/cluster">"#),
    (r#"<a href="http://rm:8088/cluster?x=1&amp;y">"#, r#"<a href="YARN/rm:8088/cluster?x=1&amp;y">"#),
    (r"<a href='http://rm:8088/cluster'>", r"<a href='YARN/rm:8088/cluster'>"),
    (
        r#"<meta http-equiv="refresh" content="1; url=http://rm:8188/applicationhistory">"#,
        r#"<meta http-equiv="refresh" content="1; url=YARN/rm:8188/applicationhistory">"#,
    ),
    ("rm:8088/proxy/application_1_0001/", "rm:8088/cluster/app/application_1_0001/"),
    (r#"<a href="http://rm:8088/proxy/application_1/">"#, r#"<a href="YARN/rm:8088/cluster/app/application_1/">"#),
    (r"<a href='http://rm:8088/proxy/application_1/'>", r"<a href='YARN/rm:8088/cluster/app/application_1/'>"),
    (r#"<a href="http://elsewhere:9999/x">"#, r#"<a href="http://elsewhere:9999/x">"#),
    (r#"<a href="https://hadoop.apache.org/docs">"#, r#"<a href="https://hadoop.apache.org/docs">"#),
    (r#"<a href="relative/x">"#, r#"<a href="relative/x">"#),
    ("8088/proxy/other", "8088/proxy/other"),
];

#[tokio::test]
async fn the_links_of_a_page_stay_under_its_prefix() {
    let (sent, expected) = sides(PAGE);
    let (cluster, pylon) = Cluster::behind_pylon([manager().at("/cluster", reply(200).html(&sent))]).await;
    let public = format!("/yarn/{}/cluster", cluster["yarn"].authority());
    for host in ["pylon.example", "10.0.0.1:8080"] {
        let expected = expected.replace("YARN", &format!("http://{host}/yarn"));
        pylon.request("GET", &public).host(host).send().await.expect(200, &expected);
    }
}

#[tokio::test]
async fn a_link_without_a_scheme_leads_to_its_node() {
    let link = r#"<td><a href="//nm-1:8042">nm-1:8042</a></td>"#;
    let (cluster, pylon) = Cluster::behind_pylon([manager().at("/cluster", reply(200).html(link))]).await;
    let public = format!("/yarn/{}/cluster", cluster["yarn"].authority());
    let response = pylon.request("GET", &public).host("pylon.example").send().await;
    response.expect(200, r#"<td><a href="http://pylon.example/yarn/nm-1:8042/node">nm-1:8042</a></td>"#);
}

#[tokio::test]
async fn a_page_gets_its_base_once() {
    let sent = "<!DOCTYPE html><html><title>x</title><body>&lt;html&gt; <html> </body></html>";
    let (cluster, pylon) = Cluster::behind_pylon([manager().at("/cluster/x", reply(200).html(sent))]).await;
    let yarn = cluster["yarn"].authority();
    let response = pylon.request("GET", &format!("/yarn/{yarn}/cluster/x")).host("pylon.example:8080").send().await;
    let base = format!(r#"<head><base href="http://pylon.example:8080/yarn/{yarn}/"></head><html>"#);
    response.expect(200, &sent.replacen("<html>", &base, 1));
}

#[tokio::test]
async fn only_pages_are_rewritten() {
    let text = format!("<html>{}", sides(PAGE).0);
    let yarn = manager()
        .at("/x.json", reply(200).json(&text))
        .at("/x.js", reply(200).body("application/javascript", &text))
        .at("/x.css", reply(200).body("text/css", &text))
        .at("/x.txt", reply(200).text(&text));
    let (cluster, pylon) = Cluster::behind_pylon([yarn]).await;
    for path in ["x.json", "x.js", "x.css", "x.txt"] {
        pylon.get(&format!("/yarn/{}/{path}", cluster["yarn"].authority())).await.expect(200, &text);
    }
}

#[tokio::test]
async fn pages_that_come_compressed_are_rewritten() {
    let (sent, expected) = sides(PAGE);
    let (cluster, pylon) = Cluster::behind_pylon([manager().at("/static/x.html", reply(200).html(&sent).gzip())]).await;
    let public = format!("/yarn/{}/static/x.html", cluster["yarn"].authority());
    let request = pylon.request("GET", &public).host("h").header("Accept-Encoding", "gzip");
    request.send().await.expect(200, &expected.replace("YARN", "http://h/yarn"));
}
