//! The provider: where browsers are sent, and what is asked of it behind their backs.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Full;
use oauth2::basic::{BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse, BasicTokenType};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RefreshToken, RequestTokenError, Scope, StandardRevocableToken, StandardTokenIntrospectionResponse,
    StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::jwt::{Claims, Known, Metadata, Remote, Rules, http_url};
use crate::config::value::Secret;
use crate::remote::{HttpClient, HttpError};

/// No answer of a provider is longer.
const MOST: usize = 256 * 1024;
/// How long an access token lasts that does not say so.
const LIFETIME: Duration = Duration::from_secs(3600);

/// What comes with the tokens of OAuth in `OpenID` Connect.
#[derive(Debug, Deserialize, Serialize)]
struct WithIdToken {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
}

impl ExtraTokenFields for WithIdToken {}

type Response = StandardTokenResponse<WithIdToken, BasicTokenType>;
type Asker = Client<
    BasicErrorResponse,
    Response,
    StandardTokenIntrospectionResponse<WithIdToken, BasicTokenType>,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Why there are no tokens.
#[derive(Debug)]
pub(super) enum Failed {
    /// The provider says that what was presented is no good, or says something that is not good.
    Refused(String),
    /// It says nothing that helps.
    Unavailable(String),
}

/// What a provider gave.
#[derive(Debug)]
pub(super) struct Tokens {
    /// The ID token, verified.
    pub(super) id: Option<String>,
    pub(super) refresh: Option<String>,
    /// How long the access token lasts.
    pub(super) lifetime: Duration,
    /// What the provider tells beside the ID token; `None` where that is not asked for. Else why it does not tell it now.
    pub(super) told: Result<Option<Told>, String>,
}

/// What userinfo tells of a user, compared with the ID token.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What the ID token tells otherwise, or not at all.
    pub(super) claims: Claims,
    /// The names of what both tell alike.
    pub(super) alike: Vec<String>,
}

/// A sign-in that goes to the provider.
pub(super) struct Login<'a> {
    pub(super) state: String,
    pub(super) nonce: &'a str,
    pub(super) verifier: &'a PkceCodeVerifier,
    pub(super) redirect: String,
}

/// A provider, and Pylon as its client.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) remote: Arc<Remote>,
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) client_secret: Option<Secret>,
    pub(super) scopes: Vec<String>,
    pub(super) parameters: Vec<(String, String)>,
    /// What ID tokens must be.
    pub(super) rules: Rules,
    pub(super) userinfo: Option<bool>,
    pub(super) timeout: Duration,
}

impl Provider {
    fn client(&self, metadata: &Metadata) -> Result<Asker, Failed> {
        let lacks = || Failed::Unavailable("the provider does not offer the code flow".to_owned());
        let url = |text: &Option<String>| text.clone().ok_or_else(lacks);
        let authorization = AuthUrl::new(url(&metadata.authorization_endpoint)?).map_err(|_| lacks())?;
        let token = TokenUrl::new(url(&metadata.token_endpoint)?).map_err(|_| lacks())?;
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
        let in_body = methods.is_some_and(|all| {
            all.iter().all(|m| m != "client_secret_basic") && all.iter().any(|m| m == "client_secret_post")
        });
        let client = Client::new(ClientId::new(self.client_id.clone()))
            .set_auth_uri(authorization)
            .set_token_uri(token)
            .set_auth_type(if in_body { AuthType::RequestBody } else { AuthType::BasicAuth });
        Ok(match &self.client_secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose().to_owned())),
            None => client,
        })
    }

    fn carrier(&self) -> Carrier {
        Carrier { client: self.remote.client().clone(), timeout: self.timeout }
    }

    /// Where a browser is sent to sign in.
    pub(super) fn sign_in(&self, metadata: &Metadata, login: Login<'_>) -> Result<String, Failed> {
        let client = self.client(metadata)?.set_redirect_uri(redirect(login.redirect)?);
        let mut request = client
            .authorize_url(|| CsrfToken::new(login.state))
            .add_scopes(self.scopes.iter().cloned().map(Scope::new))
            .add_extra_param("nonce", login.nonce)
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(login.verifier));
        for (name, value) in &self.parameters {
            request = request.add_extra_param(name, value);
        }
        Ok(request.url().0.into())
    }

    /// Takes the code that a browser brought from a sign-in; the ID token comes with its tokens.
    pub(super) async fn redeem(
        &self,
        known: Arc<Known>,
        code: String,
        verifier: PkceCodeVerifier,
        back: String,
        nonce: &str,
    ) -> Result<(Tokens, String), Failed> {
        let metadata = known.metadata.as_ref().ok_or_else(unknown)?;
        let client = self.client(metadata)?.set_redirect_uri(redirect(back)?);
        let request = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
        let response = request.request_async(&self.carrier()).await.map_err(failed)?;
        let Some(id_token) = response.extra_fields().id_token.clone() else {
            return Err(Failed::Refused("there is no ID token".to_owned()));
        };
        let claims = self.verify(&id_token, Arc::clone(&known)).await?;
        if claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
            return Err(Failed::Refused("the ID token is of another sign-in (`nonce`)".to_owned()));
        }
        let tokens = self.tokens(&known, &response, &claims).await?;
        match tokens.told {
            Err(why) => Err(Failed::Unavailable(why)),
            Ok(_) => Ok((tokens, id_token)),
        }
    }

    /// Gets new tokens for a session of this user.
    pub(super) async fn refresh(&self, refresh: &str, subject: &Claims) -> Result<Tokens, Failed> {
        let known = self.remote.known().await.ok_or_else(unknown)?;
        let client = self.client(known.metadata.as_ref().ok_or_else(unknown)?)?;
        let refresh = RefreshToken::new(refresh.to_owned());
        let response = client.exchange_refresh_token(&refresh).request_async(&self.carrier()).await.map_err(failed)?;
        let Some(id_token) = &response.extra_fields().id_token else {
            return self.tokens(&known, &response, subject).await;
        };
        let claims = self.verify(id_token, Arc::clone(&known)).await?;
        if claims.get("sub") != subject.get("sub") {
            return Err(Failed::Refused("the new ID token is of another user".to_owned()));
        }
        self.tokens(&known, &response, &claims).await
    }

    async fn tokens(&self, known: &Known, response: &Response, subject: &Claims) -> Result<Tokens, Failed> {
        let told = match self.userinfo(known, response.access_token().secret(), subject).await {
            Ok(told) => Ok(told),
            // What was presented for the tokens may be spent: they are not to be lost.
            Err(Failed::Unavailable(why)) => Err(why),
            Err(refused) => return Err(refused),
        };
        Ok(Tokens {
            id: response.extra_fields().id_token.clone(),
            refresh: response.refresh_token().map(|token| token.secret().clone()),
            lifetime: response.expires_in().unwrap_or(LIFETIME),
            told,
        })
    }

    /// Verifies an ID token (`OpenID` Connect Core §3.1.3.7).
    async fn verify(&self, token: &str, known: Arc<Known>) -> Result<Claims, Failed> {
        let verified = self.remote.verify(&self.rules, token, known).await;
        let (claims, _) = verified.map_err(|why| Failed::Refused(format!("the ID token is not good: {why}")))?;
        let is_of_many = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
        match claims.get("azp") {
            None if !is_of_many => Ok(claims),
            Some(azp) if azp.as_str() == Some(&self.client_id) => Ok(claims),
            _ => Err(Failed::Refused("the ID token is for another client (`azp`)".to_owned())),
        }
    }

    /// What the provider tells of a user beyond the ID token.
    async fn userinfo(&self, known: &Known, access: &str, subject: &Claims) -> Result<Option<Told>, Failed> {
        let place = known.metadata.as_ref().and_then(|metadata| metadata.userinfo_endpoint.as_ref());
        let place = match (self.userinfo, place) {
            (Some(false), _) | (None, None) => return Ok(None),
            (Some(true), None) => {
                return Err(Failed::Unavailable("the provider has no userinfo endpoint".to_owned()));
            }
            (_, Some(place)) => place,
        };
        let broken = |why: String| Failed::Unavailable(format!("userinfo: {why}"));
        let mut request = Request::new(Full::default());
        *request.uri_mut() = http_url(place).map_err(broken)?;
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {access}")).map_err(|_| broken("no sound token".to_owned()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.remote.client().send(request, self.timeout, MOST).await;
        let answer = answer.map_err(|error| broken(error.to_string()))?;
        if answer.status != StatusCode::OK {
            return Err(broken(format!("the answer is {}", answer.status)));
        }
        let mut claims: Claims =
            serde_json::from_slice(&answer.body).map_err(|_| broken("the answer is no JSON object".to_owned()))?;
        if !claims.get("sub").is_some_and(|sub| sub.is_string() && Some(sub) == subject.get("sub")) {
            return Err(Failed::Refused("the userinfo is of another user".to_owned()));
        }
        let mut alike = Vec::new();
        claims.retain(|name, value| {
            let is_other = subject.get(name) != Some(value);
            if !is_other && name != "sub" {
                alike.push(name.clone());
            }
            is_other
        });
        Ok(Some(Told { claims, alike }))
    }
}

fn unknown() -> Failed {
    Failed::Unavailable("the provider has not described itself yet".to_owned())
}

fn redirect(url: String) -> Result<RedirectUrl, Failed> {
    RedirectUrl::new(url).map_err(|_| Failed::Refused("the request names no sound host".to_owned()))
}

/// Carries the requests of the OAuth library.
struct Carrier {
    client: HttpClient,
    timeout: Duration,
}

impl<'c> AsyncHttpClient<'c> for Carrier {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        let (client, timeout) = (self.client.clone(), self.timeout);
        Box::pin(async move {
            let received = client.send(request.map(|body| Full::new(Bytes::from(body))), timeout, MOST).await?;
            let mut response = HttpResponse::new(received.body.to_vec());
            *response.status_mut() = received.status;
            *response.headers_mut() = received.headers;
            Ok(response)
        })
    }
}

/// What is wrong, without what the provider wrote in its own words.
fn failed(error: RequestTokenError<HttpError, BasicErrorResponse>) -> Failed {
    match error {
        RequestTokenError::ServerResponse(response) => match response.error() {
            BasicErrorResponseType::InvalidGrant => Failed::Refused("the provider takes it no more".to_owned()),
            BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => {
                Failed::Unavailable("the provider refuses Pylon as a client; look at its id and secret".to_owned())
            }
            _ => Failed::Unavailable("the provider answers with an error".to_owned()),
        },
        RequestTokenError::Request(error) => Failed::Unavailable(error.to_string()),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            Failed::Unavailable("the provider's answer cannot be read".to_owned())
        }
    }
}
