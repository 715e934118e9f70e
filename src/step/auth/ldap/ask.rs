//! Questions to directories: who a user is, if the password is good.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ldap3::{LdapConnAsync, LdapConnSettings, Scope, SearchEntry, SearchOptions, SearchResult, dn_escape, ldap_escape};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::entry::values;
use super::{Directory, GroupSearch, Place, Server};
use crate::step::auth::remembered::Answer;
use crate::step::auth::user_password::UserPassword;

/// For how long a server that did not answer is asked only after others.
const AVOIDED: Duration = Duration::from_secs(10);
/// How many connections of a server are kept while nobody asks, and for how long.
const IDLE: usize = 4;
const KEPT: Duration = Duration::from_secs(20);
/// This part of the time is waited for a connection that was kept: whoever forgot it does not say so.
const WAITS: u32 = 4;
/// Whose password is tried where a user is not there.
const NOBODY: &str = "cn=nobody of this name";
/// The most groups that a search of its own finds.
const GROUPS: i32 = 1000;
/// Result codes (RFC 4511 Appendix A).
const SUCCESS: u32 = 0;
const SIZE_LIMIT: u32 = 4;
const NO_SUCH_OBJECT: u32 = 32;
const INSUFFICIENT_RIGHTS: u32 = 50;
/// Constraint violation, no such object, invalid name, inappropriate authentication, invalid credentials, unwilling: what
/// directories answer to passwords that are not good, and to users who are shut out.
const NOT_GOOD: [u32; 6] = [19, NO_SUCH_OBJECT, 34, 48, 49, 53];

impl Directory {
    /// Asks one server after the other until one answers.
    pub(super) async fn ask(self: &Arc<Self>, given: &UserPassword) -> Result<Answer, String> {
        let until = Instant::now() + self.timeout;
        let Ok(Ok(_turn)) = timeout_at(until, self.turns.acquire()).await else {
            return Err(format!("too many others ask the directory, for {:?}", self.timeout));
        };
        let mut order: Vec<usize> = (0..self.servers.len()).collect();
        let now = self.millis();
        order.sort_by_key(|index| self.servers[*index].avoided.load(Ordering::Relaxed) > now);
        let mut failures = Vec::new();
        for (place, index) in order.iter().enumerate() {
            let server = &self.servers[*index];
            let left = u32::try_from(order.len() - place).unwrap_or(u32::MAX);
            let time = until.saturating_duration_since(Instant::now()) / left;
            match self.ask_within(time, *index, given).await {
                Ok(answer) => {
                    server.avoided.store(0, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(why) => {
                    let avoided = self.millis() + u64::try_from(AVOIDED.as_millis()).unwrap_or(u64::MAX);
                    server.avoided.store(avoided, Ordering::Relaxed);
                    failures.push(format!("{}: {why}", server.url));
                }
            }
        }
        Err(failures.join("; "))
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks a server in a task of its own: what the library makes of an answer that is not sound ends the task alone.
    async fn ask_within(
        self: &Arc<Self>,
        time: Duration,
        index: usize,
        given: &UserPassword,
    ) -> Result<Answer, String> {
        let (directory, given) = (Arc::clone(self), given.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { directory.ask_server(&directory.servers[index], &given, time).await });
        match timeout(time, task.join_next()).await {
            Ok(Some(Ok(answer))) => answer,
            Ok(_) => Err("its answer is not sound".to_owned()),
            Err(_) => Err(format!("no answer within {time:?}")),
        }
    }

    async fn ask_server(&self, server: &Server, given: &UserPassword, time: Duration) -> Result<Answer, String> {
        if let Some(mut line) = server.idle() {
            // A connection that was kept may be of no use any more, and nobody may say so; a new one tells the truth.
            let own = timeout(time / WAITS, line.session(self, false).become_own()).await;
            if own.is_err() {
                server.idle.lock().clear();
            } else if own.is_ok_and(|is_own| is_own.is_ok())
                && let Ok(answer) = self.ask_over(line, true, server, given).await
            {
                return Ok(answer);
            }
        }
        self.ask_over(self.connect(&server.url).await?, false, server, given).await
    }

    async fn connect(&self, url: &Url) -> Result<Line, String> {
        let settings = LdapConnSettings::new()
            .set_conn_timeout(self.connect)
            .set_starttls(self.starttls)
            .set_config(Arc::clone(&self.tls));
        let opened = LdapConnAsync::from_url_with_settings(settings, url).await;
        let (connection, ldap) = opened.map_err(|error| error.to_string())?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.drive().await) });
        Ok(Line { ldap, _driver: driver, used: Instant::now() })
    }

    async fn ask_over(
        &self,
        mut line: Line,
        is_own: bool,
        server: &Server,
        given: &UserPassword,
    ) -> Result<Answer, String> {
        let answer = line.session(self, is_own).find(given).await;
        if self.own.is_some() && answer.is_ok() {
            // The next question begins with a sign-in as Pylon: nothing that this user may see is left.
            server.keep(line);
        } else {
            drop(line.ldap.unbind().await);
        }
        answer
    }
}

/// A connection, which ends with this.
pub(super) struct Line {
    ldap: ldap3::Ldap,
    _driver: JoinSet<()>,
    used: Instant,
}

impl Line {
    fn session<'d>(&'d mut self, directory: &'d Directory, is_own: bool) -> Session<'d> {
        Session { ldap: &mut self.ldap, directory, is_own }
    }
}

impl Server {
    /// A connection that was kept; those that were for long go.
    fn idle(&self) -> Option<Line> {
        let mut idle = self.idle.lock();
        idle.retain(|line| line.used.elapsed() < KEPT);
        idle.pop()
    }

    fn keep(&self, line: Line) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE {
            idle.push(Line { used: Instant::now(), ..line });
        }
    }
}

/// One question.
struct Session<'d> {
    ldap: &'d mut ldap3::Ldap,
    directory: &'d Directory,
    /// Whether it searches as Pylon.
    is_own: bool,
}

impl Session<'_> {
    async fn find(&mut self, given: &UserPassword) -> Result<Answer, String> {
        let directory = self.directory;
        let (dn, found) = match &directory.place {
            Place::Named(template) => (template.replace("{user}", &dn_escape(given.user.as_str())), None),
            Place::Searched { base, filter } => {
                let filter = filter.replace("{user}", &ldap_escape(given.user.as_str()));
                match self.search_user(base, &filter).await? {
                    Some(entry) => (entry.dn.clone(), Some(entry)),
                    None => {
                        // That nobody is there is not to be told by the time that the answer takes.
                        drop(self.ldap.simple_bind(&format!("{NOBODY},{base}"), &given.password).await);
                        return Ok(None);
                    }
                }
            }
        };
        // A name or a password that is empty says that nobody signs in, which a directory may accept.
        if dn.is_empty() || given.password.is_empty() || !self.bind(&dn, &given.password).await? {
            return Ok(None);
        }
        self.is_own = false;
        let entry = match found {
            Some(entry) => Some(entry),
            None => self.read_entry(&dn).await?,
        };
        let identity = entry.and_then(|entry| directory.attributes.identity(&given.user, &entry));
        let Some(mut identity) = identity else {
            tracing::warn!(%dn, "a user's password is good, but their entry does not show what they are called");
            return Ok(None);
        };
        if let Some(search) = &directory.groups {
            for group in self.search_groups(search, &dn, &identity.user).await? {
                if !identity.groups.contains(&group) {
                    identity.groups.push(group);
                }
            }
        }
        Ok(Some(Arc::new(identity)))
    }

    /// Whether the directory lets somebody in.
    async fn bind(&mut self, dn: &str, password: &str) -> Result<bool, String> {
        let result = self.ldap.simple_bind(dn, password).await.map_err(|error| error.to_string())?;
        match result.rc {
            SUCCESS => Ok(true),
            rc if NOT_GOOD.contains(&rc) => Ok(false),
            rc => Err(format!("it answers {rc} to a sign-in: {}", result.text)),
        }
    }

    /// Goes on as Pylon, where it has a name of its own.
    async fn become_own(&mut self) -> Result<(), String> {
        if let Some((dn, password)) = &self.directory.own
            && !self.is_own
        {
            if !self.bind(dn, password).await? {
                return Err("it does not take `bind_dn` with `bind_password`".to_owned());
            }
            self.is_own = true;
        }
        Ok(())
    }

    /// The one entry of a user; `None` where there is none, or more than one.
    async fn search_user(&mut self, base: &str, filter: &str) -> Result<Option<SearchEntry>, String> {
        self.become_own().await?;
        let names = self.directory.attributes.names();
        let (mut entries, rc) = self.search(base, Scope::Subtree, filter, names, 2).await?;
        match rc {
            SUCCESS | SIZE_LIMIT => {}
            rc => return Err(format!("it answers {rc} to a search below `{base}`")),
        }
        if rc == SIZE_LIMIT || entries.len() > 1 {
            tracing::warn!(%base, "more than one entry fits a user name; none of them passes");
            return Ok(None);
        }
        Ok(entries.pop().map(SearchEntry::construct))
    }

    async fn read_entry(&mut self, dn: &str) -> Result<Option<SearchEntry>, String> {
        self.become_own().await?;
        let names = self.directory.attributes.names();
        let (mut entries, rc) = self.search(dn, Scope::Base, "(objectClass=*)", names, 1).await?;
        match rc {
            SUCCESS | NO_SUCH_OBJECT | INSUFFICIENT_RIGHTS => Ok(entries.pop().map(SearchEntry::construct)),
            rc => Err(format!("it answers {rc} to a search for `{dn}`")),
        }
    }

    async fn search_groups(&mut self, search: &GroupSearch, dn: &str, user: &str) -> Result<Vec<String>, String> {
        self.become_own().await?;
        // In one pass: what is put in is not looked at again.
        let mut filter = String::new();
        let mut left = search.filter.as_str();
        while let Some(at) = left.find('{') {
            filter.push_str(&left[..at]);
            left = &left[at..];
            if let Some(rest) = left.strip_prefix("{dn}") {
                filter.push_str(&ldap_escape(dn));
                left = rest;
            } else if let Some(rest) = left.strip_prefix("{user}") {
                filter.push_str(&ldap_escape(user));
                left = rest;
            } else {
                filter.push('{');
                left = &left[1..];
            }
        }
        filter.push_str(left);
        let names = vec![search.attribute.as_str()];
        let (entries, rc) = self.search(&search.base, Scope::Subtree, &filter, names, GROUPS).await?;
        match rc {
            SUCCESS => {}
            rc => return Err(format!("it answers {rc} to a search for groups below `{}`", search.base)),
        }
        let entries = entries.into_iter().map(SearchEntry::construct);
        Ok(entries.flat_map(|entry| values(&entry.attrs, &search.attribute).to_vec()).collect())
    }

    async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        names: Vec<&str>,
        most: i32,
    ) -> Result<(Vec<ldap3::ResultEntry>, u32), String> {
        let found =
            self.ldap.with_search_options(SearchOptions::new().sizelimit(most)).search(base, scope, filter, names);
        let SearchResult(entries, result) = found.await.map_err(|error| error.to_string())?;
        Ok((entries.into_iter().filter(|one| !one.is_ref() && !one.is_intermediate()).collect(), result.rc))
    }
}
