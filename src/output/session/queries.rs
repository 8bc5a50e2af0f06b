//! What of sessions is answered on Zenoh.

use std::sync::Arc;

use zenoh::bytes::{Encoding, ZBytes};
use zenoh::key_expr::KeyExpr;
use zenoh::query::{Query, Queryable};
use zenoh::{Session, Wait};

use super::{Rendered, SESSION_SCHEMA, SessionDesk, SessionOutcome};
use crate::output::zenoh::SessionError;

/// What answers: requests, the summary, the page.
pub(in crate::output) type Queries = [Queryable<()>; 3];

/// Answers `/session`, `/session/summary` and `/session/page` below `base`, each only to a query of just that key: a
/// wildcard asks what there is, and access control of these keys does not hold it.
///
/// # Errors
///
/// [`SessionError::Declare`] with the key.
pub(in crate::output) fn declare(
    session: &Session,
    base: &str,
    desk: &Arc<SessionDesk>,
) -> Result<Queries, SessionError> {
    let asked = Arc::clone(desk);
    let requests = answer(session, base, move |own, query| {
        let payload = query.payload().map(ZBytes::to_bytes).unwrap_or_default();
        let payload = payload.into_owned();
        let own = own.clone();
        let answer = move |outcome: &SessionOutcome| {
            let encoding = Encoding::APPLICATION_CBOR.with_schema(SESSION_SCHEMA);
            let sent = query.reply(own.clone(), outcome.to_cbor());
            tell(&own, sent.encoding(encoding).wait());
        };
        asked.receive(&payload, Box::new(answer));
    })?;
    let rendered = |leaf: &str, encoding: Encoding, of: fn(&Rendered) -> &str| {
        let desk = Arc::clone(desk);
        answer(session, &format!("{base}/{leaf}"), move |own, query| {
            let sent = match desk.summary() {
                Ok(rendered) => query
                    .reply(own.clone(), of(&rendered))
                    .encoding(encoding.clone())
                    .wait(),
                Err(why) => query.reply_err(why).wait(),
            };
            tell(own, sent);
        })
    };
    Ok([
        requests,
        rendered("summary", Encoding::APPLICATION_JSON, |all| &all.json)?,
        rendered("page", Encoding::TEXT_HTML, |all| &all.html)?,
    ])
}

fn answer(
    session: &Session,
    key: &str,
    answer: impl Fn(&KeyExpr<'static>, Query) + Send + Sync + 'static,
) -> Result<Queryable<()>, SessionError> {
    let declare = |source: zenoh::Error| SessionError::Declare {
        key: key.to_owned(),
        source: source.into(),
    };
    let own = KeyExpr::new(key.to_owned()).map_err(declare)?;
    let expected = own.clone();
    session
        .declare_queryable(own)
        .callback(move |query| {
            if *query.key_expr() == expected {
                answer(&expected, query);
            }
        })
        .wait()
        .map_err(declare)
}

fn tell(key: &KeyExpr<'_>, sent: zenoh::Result<()>) {
    if let Err(error) = sent {
        log::debug!("{key}: the answer was not sent: {error}");
    }
}
