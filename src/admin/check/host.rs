//! What the system says: processes and their sockets, addresses, disks, limits, the clock.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::Command,
};

use nix::{
    ifaddrs::getifaddrs,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        statvfs::statvfs,
    },
    unistd::{AccessFlags, access},
};

use crate::check::resources::Place;

/// Who listens at a port: process and name. `None` where that is nobody, or cannot be seen.
pub(super) fn listener(address: SocketAddr) -> Option<(u32, String)> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes(&table, address))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok()).find_map(|pid| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(Result::ok);
        let mut links = open.filter_map(|link| fs::read_link(link.path()).ok());
        let has = links.any(|link| inodes.iter().any(|inode| Path::new(inode) == link));
        let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
        has.then(|| (pid, name()))
    })
}

/// The inodes of the sockets that stand in the way of listening at an address (proc(5), `/proc/net/tcp`).
fn inodes(table: &str, address: SocketAddr) -> Vec<String> {
    const LISTEN: &str = "0A";
    let is_in_the_way = |at: SocketAddr| {
        at.port() == address.port()
            && (at.ip().is_unspecified() || address.ip().is_unspecified() || at.ip() == address.ip())
    };
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let (at, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
            (is_in_the_way(local_address(at)?) && *state == LISTEN).then(|| (*inode).to_owned())
        })
        .collect()
}

/// `0100007F:01BB`: words of four bytes, each in the machine's own order, and the port.
fn local_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for at in (0..ip.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Addresses of this machine, but for those that need an interface beside them.
pub(super) fn addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    addresses.filter(|ip| !is_link_local(*ip)).collect()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The default gateway for IPv4 (proc(5), `/proc/net/route`).
pub(super) fn gateway() -> Option<IpAddr> {
    gateway_in(&fs::read_to_string("/proc/net/route").ok()?)
}

fn gateway_in(table: &str) -> Option<IpAddr> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (destination, gateway) = (fields.get(1)?, fields.get(2)?);
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        // In the machine's own order of bytes.
        (*destination == "00000000" && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()).into())
    })
}

/// Whether a gate that listens at `listen` is what answers at `address`.
pub(super) fn is_served_by(listen: SocketAddr, address: SocketAddr) -> bool {
    let everywhere = match listen.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && address.is_ipv4(),
        // Dual-stack, as the gate binds it.
        IpAddr::V6(ip) => ip == Ipv6Addr::UNSPECIFIED,
    };
    listen.port() == address.port() && (everywhere || listen.ip() == address.ip())
}

/// What is known of where a file is written; of its directory while there is no file.
pub(super) fn place(path: &Path) -> Place {
    let looked = if path.exists() { path } else { path.parent().unwrap_or(path) };
    let unwritable = access(looked, AccessFlags::W_OK).err().map(|error| error.desc().to_owned());
    let free = statvfs(looked).ok().map(|disk| disk.blocks_available().saturating_mul(disk.fragment_size()));
    Place { path: path.to_owned(), unwritable, free }
}

/// Descriptors that a process may have at most; our own without one.
pub(super) fn descriptors(pid: Option<u32>) -> u64 {
    let of_process = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok());
    if let Some(limits) = of_process.and_then(|text| hard_limit(&text)) {
        return limits;
    }
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard)
}

/// proc(5), `/proc/pid/limits`
fn hard_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let hard = line.split_whitespace().nth(1)?;
    if hard == "unlimited" { Some(u64::MAX) } else { hard.parse().ok() }
}

/// Lets this process have as many descriptors as it may, and says how many that are.
///
/// The soft limit is 1024 nearly everywhere, for programs that use select(2).
pub(in crate::admin) fn raise_descriptors() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Whether something sets the clock by others; `None` where the system does not say.
///
/// systemd-timesyncd leaves a mark. Otherwise timedated is asked, which reads the kernel's STA_UNSYNC, unless
/// no other program is to be run.
pub(super) fn synchronised(may_run: bool) -> Option<bool> {
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Some(true);
    }
    let printed = if may_run {
        printed_by("timedatectl", &["show", "--property=NTPSynchronized", "--value"])
    } else {
        None
    };
    match printed?.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// What `systemd-analyze security` prints of the gate's unit, where there is one.
pub(super) fn exposure() -> Option<String> {
    let units = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
    if !units.iter().any(|directory| Path::new(directory).join("pvegate.service").exists()) {
        return None;
    }
    printed_by("systemd-analyze", &["security", "--no-pager", "pvegate.service"])
}

/// What a program of systemd's prints; nothing where systemd does not run.
fn printed_by(program: &str, args: &[&str]) -> Option<String> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let output = Command::new(program).args(args).env("LC_ALL", "C").output().ok()?;
    String::from_utf8(output.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_in_the_way_by_port_and_address() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let row = |at: &str, port: &str, state: &str, inode: u32| {
            format!("0: {at}:{port} 0:0 {state} 0:0 00:0 0 0 0 {inode} 1\n")
        };
        let table = [
            "sl local_address …\n".to_owned(),
            row(&word([127, 0, 0, 1]), "1F90", "0A", 1),
            row(&word([127, 0, 0, 1]), "1F90", "01", 2),
            row(&word([10, 0, 0, 5]), "1F90", "0A", 3),
            row(&word([0; 4]), "01BB", "0A", 4),
            row(&[word([0; 4]), word([0; 4]), word([0; 4]), word([0, 0, 0, 1])].concat(), "0050", "0A", 5),
        ]
        .concat();
        let found = |address: &str| inodes(&table, address.parse().unwrap());

        assert_eq!(found("127.0.0.1:8080"), ["1"]);
        assert_eq!(found("10.0.0.5:8080"), ["3"]);
        assert_eq!(found("0.0.0.0:8080"), ["1", "3"]);
        assert_eq!(found("10.0.0.5:443"), ["4"]);
        assert_eq!(found("[::1]:80"), ["5"]);
        assert!(found("127.0.0.1:90").is_empty());
    }

    #[test]
    fn the_default_gateway_is_read_from_the_routing_table() {
        let head = "Iface\tDestination\tGateway\tFlags\n";
        let number = u32::from_ne_bytes([172, 17, 0, 1]);

        let found =
            gateway_in(&format!("{head}eth0\t000011AC\t00000000\t1\neth0\t00000000\t{number:08X}\t3\n"));

        assert_eq!(found, Some(IpAddr::from([172, 17, 0, 1])));
        assert_eq!(gateway_in(head), None);
    }

    #[test]
    fn the_hard_limit_is_the_second_number() {
        let text = "Limit Soft Hard Units\nMax open files            1024                 524288               files\n";

        assert_eq!(hard_limit(text), Some(524_288));
        assert_eq!(hard_limit("Max open files 1 unlimited files"), Some(u64::MAX));
        assert_eq!(hard_limit(""), None);
    }

    #[test]
    fn what_the_gate_serves_itself_is_no_way_around_it() {
        #[rustfmt::skip]
        let table = [
            ("0.0.0.0:8006",   "10.0.0.5:8006", true),
            ("0.0.0.0:8006",   "[fd00::2]:8006", false),
            ("[::]:8006",      "10.0.0.5:8006", true),
            ("[::]:443",       "10.0.0.5:8006", false),
            ("10.0.0.5:8006",  "10.0.0.5:8006", true),
            ("10.0.0.6:8006",  "10.0.0.5:8006", false),
        ];
        for (listen, address, expected) in table {
            assert_eq!(is_served_by(listen.parse().unwrap(), address.parse().unwrap()), expected, "{listen}");
        }
    }
}
