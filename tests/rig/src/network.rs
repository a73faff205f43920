//! The network that this machine is in, if any.

use std::net::{IpAddr, UdpSocket};

/// One of documentation's addresses: nothing is sent to it.
const ELSEWHERE: &str = "192.0.2.1:9";

/// This machine's address in a network, by which others could reach it.
pub fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect(ELSEWHERE).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}
