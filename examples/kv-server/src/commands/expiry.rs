//! Commands on the time a value has to live.

use bytes::Bytes;
use chord::{Action, Condition, Expiry, Outcome, Update};

use crate::commands::Failure;
use crate::commands::counters::integer;
use crate::node::{Node, now_millis};
use crate::resp::Reply;

/// Attempts at a conditional `EXPIRE` while others write the key.
const ATTEMPTS: usize = 16;

/// In what a time is given.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Seconds,
    Millis,
}

impl Unit {
    fn millis(self, amount: i64) -> Option<i64> {
        match self {
            Unit::Seconds => amount.checked_mul(1000),
            Unit::Millis => Some(amount),
        }
    }
}

/// A time to live, which must be positive.
pub(super) fn expiry_in(command: &str, unit: Unit, arg: &[u8]) -> Result<Expiry, Failure> {
    let amount = integer(arg)?;
    let millis =
        unit.millis(amount).and_then(|millis| u64::try_from(millis).ok()).filter(|millis| *millis > 0);
    let ends_in_range =
        |millis: &u64| now_millis().checked_add(*millis).is_some_and(|at| i64::try_from(at).is_ok());
    millis.filter(ends_in_range).map(Expiry::InMillis).ok_or_else(|| invalid(command))
}

/// A moment, which must be after 1970; one that is over makes the value expire at once.
pub(super) fn expiry_at(command: &str, unit: Unit, arg: &[u8]) -> Result<Expiry, Failure> {
    let amount = integer(arg)?;
    let millis =
        unit.millis(amount).and_then(|millis| u64::try_from(millis).ok()).filter(|millis| *millis > 0);
    millis.map(Expiry::At).ok_or_else(|| invalid(command))
}

fn invalid(command: &str) -> Failure {
    Failure::text(format!("ERR invalid expire time in '{command}' command"))
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub(super) async fn expire(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    set_expiry(node, "expire", Unit::Seconds, Start::Now, args, reply).await
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub(super) async fn pexpire(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    set_expiry(node, "pexpire", Unit::Millis, Start::Now, args, reply).await
}

/// `EXPIREAT key unix-seconds [NX | XX | GT | LT]`
pub(super) async fn expireat(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    set_expiry(node, "expireat", Unit::Seconds, Start::Epoch, args, reply).await
}

/// `PEXPIREAT key unix-milliseconds [NX | XX | GT | LT]`
pub(super) async fn pexpireat(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    set_expiry(node, "pexpireat", Unit::Millis, Start::Epoch, args, reply).await
}

/// From when a time counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Now,
    Epoch,
}

async fn set_expiry(
    node: &Node,
    command: &str,
    unit: Unit,
    start: Start,
    args: &[Bytes],
    reply: &mut Reply,
) -> Result<(), Failure> {
    let rule = Rule::parse(&args[3..])?;
    let amount = unit.millis(integer(&args[2])?).ok_or_else(|| invalid(command))?;
    let now = i64::try_from(now_millis()).unwrap_or(i64::MAX);
    let at = match start {
        Start::Now => amount.checked_add(now).ok_or_else(|| invalid(command))?,
        Start::Epoch => amount,
    };
    // The owner's clock decides; only what is over by any clock is removed without asking it.
    let action = match u64::try_from(at) {
        Err(_) | Ok(0) => Action::Remove,
        Ok(_) if start == Start::Now && amount <= 0 => Action::Remove,
        Ok(_) if start == Start::Now => Action::Expire(Expiry::InMillis(amount.unsigned_abs())),
        Ok(at) => Action::Expire(Expiry::At(at)),
    };
    let key = &args[1];
    let changed = if rule.is_empty() {
        let update = Update { action, condition: Condition::Present, return_previous: false };
        node.update(key, update).await?.outcome == Outcome::Applied
    } else {
        expire_if(node, key, action, at, rule).await?
    };
    reply.integer(changed.into());
    Ok(())
}

/// Reads the expiry, and writes under the condition that nobody wrote since; again when somebody did.
async fn expire_if(node: &Node, key: &Bytes, action: Action, at: i64, rule: Rule) -> Result<bool, Failure> {
    for _ in 0..ATTEMPTS {
        let Some(record) = node.get_record(key).await? else { return Ok(false) };
        if !rule.allows(record.expires_at, at) {
            return Ok(false);
        }
        let condition = Condition::Version(record.version);
        let update = Update { action: action.clone(), condition, return_previous: false };
        if node.update(key, update).await?.outcome == Outcome::Applied {
            return Ok(true);
        }
    }
    Err(Failure::text("TRYAGAIN the key is written too often to change its expiry on a condition"))
}

/// When `EXPIRE` may change an expiry.
#[derive(Clone, Copy, Default)]
struct Rule {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Rule {
    fn parse(args: &[Bytes]) -> Result<Rule, Failure> {
        let mut rule = Rule::default();
        for arg in args {
            match arg.to_ascii_uppercase().as_slice() {
                b"NX" => rule.nx = true,
                b"XX" => rule.xx = true,
                b"GT" => rule.gt = true,
                b"LT" => rule.lt = true,
                _ => {
                    return Err(Failure::text(format!(
                        "ERR Unsupported option {}",
                        String::from_utf8_lossy(&arg[..arg.len().min(128)])
                    )));
                }
            }
        }
        if rule.nx && (rule.xx || rule.gt || rule.lt) {
            return Err(Failure::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if rule.gt && rule.lt {
            return Err(Failure::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(rule)
    }

    fn is_empty(self) -> bool {
        !(self.nx || self.xx || self.gt || self.lt)
    }

    /// A value without expiry counts as one that expires last.
    fn allows(self, current: Option<u64>, at: i64) -> bool {
        let later = current.is_some_and(|current| i64::try_from(current).is_ok_and(|current| at > current));
        let earlier = current.is_none_or(|current| i64::try_from(current).is_ok_and(|current| at < current));
        (!self.nx || current.is_none())
            && (!self.xx || current.is_some())
            && (!self.gt || later)
            && (!self.lt || earlier)
    }
}

/// `PERSIST key`
pub(super) async fn persist(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let action = Action::Expire(Expiry::Never);
    let update = Update { action, condition: Condition::Present, return_previous: false };
    let receipt = node.update(&args[1], update).await?;
    reply.integer((receipt.outcome == Outcome::Applied && receipt.previous_expires_at.is_some()).into());
    Ok(())
}

/// `TTL key`
pub(super) async fn ttl(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    let left = time_left(node, &args[1]).await?;
    reply.integer(if left < 0 { left } else { left.saturating_add(500) / 1000 });
    Ok(())
}

/// `PTTL key`
pub(super) async fn pttl(node: &Node, args: &[Bytes], reply: &mut Reply) -> Result<(), Failure> {
    reply.integer(time_left(node, &args[1]).await?);
    Ok(())
}

/// Milliseconds left; -1 without expiry, -2 without value.
async fn time_left(node: &Node, key: &Bytes) -> Result<i64, Failure> {
    Ok(match node.get_record(key).await? {
        None => -2,
        Some(record) => match record.expires_at {
            None => -1,
            Some(at) => i64::try_from(at.saturating_sub(now_millis())).unwrap_or(i64::MAX),
        },
    })
}
