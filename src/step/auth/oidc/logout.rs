//! The end of a session: here, and at the provider where it offers that (RP-Initiated Logout 1.0).

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::{Asking, Desk, Finding, Here, page, redirect};

/// A longer ID token is not put into an address.
const LONGEST: usize = 4000;

impl Desk {
    /// Ends the session of a browser.
    pub(super) async fn log_out(&self, asking: &Asking<'_>, here: &Here<'_>) -> Finding {
        let mut headers = HeaderMap::new();
        let site = asking.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        if site == Some(b"cross-site") {
            let text = "Another site sent you here to be signed out. To be, open this address by yourself.";
            return page(StatusCode::FORBIDDEN, text, headers);
        }
        here.cookies.clear(asking, &mut headers);
        let opened = self.open(asking, here).ok();
        if let Some(opened) = &opened {
            self.renewal(&opened.session.id).end();
        }
        let after = self
            .after_logout
            .as_ref()
            .map(|after| if after.starts_with('/') { here.url(after) } else { after.clone() });
        let known = self.provider.remote.known().await;
        let place = known.as_ref().and_then(|known| known.metadata.as_ref()?.end_session_endpoint.as_deref());
        // Somebody without a session here is not signed out elsewhere: any site could send them here.
        let place = opened.as_ref().and_then(|_| url::Url::parse(place?).ok());
        match (place, after) {
            (Some(mut place), after) => {
                {
                    let mut query = place.query_pairs_mut();
                    query.append_pair("client_id", &self.provider.client_id);
                    let hint = opened.as_ref().map(|opened| self.newest(Arc::clone(opened)));
                    if let Some(hint) = hint.filter(|hint| hint.session.id_token.len() <= LONGEST) {
                        query.append_pair("id_token_hint", &hint.session.id_token);
                    }
                    if let Some(after) = &after {
                        query.append_pair("post_logout_redirect_uri", after);
                    }
                }
                redirect(place.as_str(), headers)
            }
            (None, Some(after)) => redirect(&after, headers),
            (None, None) => page(StatusCode::OK, "You are signed out.", headers),
        }
    }
}
