//! What goes wrong on a cable, each as one call and one undoing.
//!
//! Loss, black holes and partitions are nftables rules where packets arrive; rates and reordering are queueing disciplines where they leave. A new
//! set of rules or disciplines replaces the old.

use super::Netns;

impl Netns {
    /// Installs rules for packets that come in (`ip saddr 10.0.0.1 tcp sport 7000 drop`), in place of the last ones.
    ///
    /// Losing a packet is the receiver's part: a sender whose own firewall drops it is told so, and doesn't count it as sent.
    pub fn on_arrival(&self, rules: &[&str]) {
        let rules: String = rules.iter().map(|rule| format!("{rule};")).collect();
        self.table("arrival", &format!("type filter hook prerouting priority 0; {rules}"));
    }

    /// Undoes [`Netns::on_arrival`] and what is made of it.
    pub fn no_rules(&self) {
        self.on_arrival(&[]);
    }

    fn table(&self, name: &str, chain: &str) {
        let text = format!(
            "table inet {name} {{}}\ndelete table inet {name}\ntable inet {name} {{ chain rules {{ {chain}\n}}\n}}\n"
        );
        let (code, said) = self.run(&["nft", "-f", "-"], &text);
        assert_eq!(code, Some(0), "nft: {said}\n{text}");
    }

    /// Loses so many of a hundred packets that come in by a cable.
    pub fn lose_percent(&self, percent: u32) {
        self.on_arrival(&[&format!("iifname != \"lo\" numgen random mod 100 < {percent} drop")]);
    }

    /// Loses packets over `bytes` (IP header counted) that come in by a cable, and tells nobody: the end of a path whose MTU can't be discovered.
    pub fn swallow_packets_over(&self, bytes: u32) {
        self.on_arrival(&[&format!("iifname != \"lo\" meta length > {bytes} drop")]);
    }

    /// Lets what leaves by `device` go no faster, with a queue of that many ms before packets are dropped.
    pub fn rate(&self, device: &str, kilobits_per_s: u32, queue_ms: u32) {
        self.tc(&format!(
            "qdisc replace dev {device} root tbf rate {kilobits_per_s}kbit burst 16kb latency {queue_ms}ms"
        ));
    }

    /// Makes `percent` of the packets that leave by `device` wait in a queue of their own, about `by_ms` each, so that later ones overtake
    /// them: an HTB class of a packet every `by_ms` beside one that is never full.
    pub fn reorder(&self, device: &str, percent: u32, by_ms: u32) {
        let slow_kbit = 1500 * 8 / by_ms;
        self.tc(&format!("qdisc replace dev {device} root handle 1: htb default 10"));
        self.tc(&format!(
            "class replace dev {device} parent 1: classid 1:10 htb rate 1gbit burst 128kb quantum 60000"
        ));
        // No borrowing, and room for one packet's tokens only: the second that comes within `by_ms` waits.
        self.tc(&format!(
            "class replace dev {device} parent 1: classid 1:20 htb rate {slow_kbit}kbit ceil {slow_kbit}kbit burst 1600 cburst 1600 quantum 1600"
        ));
        self.tc(&format!("qdisc replace dev {device} parent 1:20 pfifo limit 30"));
        let rule =
            format!("oifname \"{device}\" numgen random mod 100 < {percent} meta priority set \"1:20\"");
        self.table("overtaking", &format!("type filter hook postrouting priority 0; {rule};"));
    }

    /// Undoes [`Netns::rate`] and [`Netns::reorder`].
    pub fn no_queue(&self, device: &str) {
        self.tc(&format!("qdisc del dev {device} root"));
        self.table("overtaking", "");
    }

    /// Takes `device` down or up: a cable pulled.
    pub fn link(&self, device: &str, up: bool) {
        self.ip(&format!("link set {device} {}", if up { "up" } else { "down" }));
    }

    /// A counter of this network stack (`TcpExt: TCPSACKReorder`), as /proc/net/netstat and /proc/net/snmp have them.
    pub fn counter(&self, group: &str, name: &str) -> u64 {
        let text = self.within(|| {
            let read = |path| std::fs::read_to_string(path).unwrap_or_default();
            read("/proc/thread-self/net/netstat") + &read("/proc/thread-self/net/snmp")
        });
        let mut lines = text.lines().filter(|l| l.starts_with(&format!("{group}:")));
        let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let at = names.split_whitespace().position(|n| n == name);
        at.and_then(|i| values.split_whitespace().nth(i)?.parse().ok())
            .unwrap_or_else(|| panic!("no counter {group} {name}"))
    }
}
