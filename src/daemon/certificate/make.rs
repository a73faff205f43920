//! A new key and a certificate that it signs itself.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

use crate::calendar::Date;
use crate::daemon::certificate::CertificateError;

/// A clock that says less was never set: a Pi has no battery for it, and starts in the past.
const CLOCK_SET_SINCE: Date = Date { year: 2026, month: 11, day: 1 };

/// No end, as RFC 5280 writes it.
const NEVER: (i32, u8, u8) = (9999, 12, 31);

/// The key and its certificate for these names, one behind the other as PEM; `now_ns` is since 1970.
pub(super) fn make(names: &[String], now_ns: i64) -> Result<String, CertificateError> {
    let today = Date::of_ns(now_ns);
    if today.days() < CLOCK_SET_SINCE.days() {
        return Err(CertificateError::ClockNotSet(today.to_string()));
    }
    if let Some(bad) = names.iter().find(|name| !is_name(name)) {
        return Err(CertificateError::BadName(bad.clone()));
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "twinstick");
    let (month, day) = (today.month.unsigned_abs() as u8, today.day.unsigned_abs() as u8);
    params.not_before = date_time_ymd(today.year as i32, month, day);
    params.not_after = date_time_ymd(NEVER.0, NEVER.1, NEVER.2);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

fn is_name(name: &str) -> bool {
    rustls::pki_types::ServerName::try_from(name).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const NS_PER_DAY: i64 = 86_400_000_000_000;

    #[test]
    fn none_is_made_while_the_clock_is_not_set() {
        let names = ["pi.local".to_owned()];
        let set = CLOCK_SET_SINCE.days() * NS_PER_DAY;
        for early in [0, -NS_PER_DAY, set - 1] {
            let refused = make(&names, early).unwrap_err();
            assert!(matches!(refused, CertificateError::ClockNotSet(_)) && refused.to_string().contains("timedatectl"));
        }
        assert!(make(&names, set).is_ok());
    }

    #[test]
    fn each_has_a_key_of_its_own() {
        let (names, now) = (["pi.local".to_owned(), "192.168.1.5".to_owned()], 2 * CLOCK_SET_SINCE.days() * NS_PER_DAY);
        assert_ne!(make(&names, now).unwrap(), make(&names, now).unwrap());
        assert!(matches!(make(&["a b".to_owned()], now), Err(CertificateError::BadName(_))));
    }
}
