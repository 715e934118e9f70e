//! The web portal: one page that leads to every other service, by the addresses that only Pylon can reach, and a few
//! things to try on it.

use axum::{
    Router,
    response::Html,
    routing::{any, get, post},
};

use super::{Addresses, Service, site, transfer};

/// What stands in the page for an address.
const PLACES: [(&str, Service); 7] = [
    ("{{rest}}", Service::Rest),
    ("{{kubernetes}}", Service::Kubernetes),
    ("{{prometheus}}", Service::Prometheus),
    ("{{alertmanager}}", Service::AlertManager),
    ("{{yarn}}", Service::ResourceManager),
    ("{{dashboard}}", Service::Dashboard),
    ("{{grafana}}", Service::Grafana),
];

/// The portal.
pub(super) fn router(all: Addresses) -> Router {
    let fill = |page: String, (place, service): &(&str, Service)| page.replace(place, &all.uri(*service));
    let page = PLACES.iter().fold(include_str!("portal.html").to_owned(), fill);
    Router::new()
        .route("/", get(async move || Html(page)))
        .route("/ws", any(site::echo))
        .route("/sse", get(site::events))
        .route("/upload", post(transfer::upload))
        .route("/download", get(transfer::download))
        .fallback(site::not_found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::pai::start;
    use crate::demo::testing::{connect, frame, get as ask, upgrade};

    #[tokio::test]
    async fn the_page_has_every_internal_address() {
        let all = start().await.unwrap();
        let page = ask(all.addresses.of(Service::Portal), "/").await.text();
        for (_, service) in PLACES {
            let uri = all.addresses.uri(service);
            assert!(page.contains(&format!("\"{uri}")), "{service:?} {uri}");
        }
        assert!(page.contains("window.ENV = {restServerUri: \"http://") && !page.contains("{{"));
    }

    #[tokio::test]
    async fn echo_and_events() {
        let all = start().await.unwrap();
        let portal = all.addresses.of(Service::Portal);
        let mut socket = connect(portal, &upgrade("/ws", "")).await;
        socket.until("101 ").await;
        socket.send(&frame(b"over the wire")).await;
        socket.until("over the wire").await;
        connect(portal, "GET /sse HTTP/1.1\r\nhost: x\r\n\r\n").await.until("{\"tick\":1}").await;
    }
}
