//! Who may do what with which key. No rule, no access.

use holdfast_wire::Labels;

use crate::caller::{Caller, overflow_id};
use crate::config::{Action, Rule, Who};

/// The `[[allow]]` rules.
pub struct Policy {
    rules: Vec<Rule>,
    overflow_uid: u32,
    overflow_gid: u32,
}

/// Leave to use one key once, for one action. Only [`Policy::admit`] makes one, and the keyring takes
/// it by value: a key cannot be used without a decision, nor twice on one.
pub struct Grant {
    key: usize,
    action: Action,
}

impl Grant {
    /// Index of the key in the configuration's order.
    pub(crate) fn key(&self) -> usize {
        self.key
    }

    /// What it was granted for.
    pub(crate) fn action(&self) -> Action {
        self.action
    }
}

impl Policy {
    /// From the configuration's rules.
    pub fn new(rules: Vec<Rule>) -> Policy {
        Policy { rules, overflow_uid: overflow_id("overflowuid"), overflow_gid: overflow_id("overflowgid") }
    }

    /// Whether `caller` may do `action` with the key at `key`, whose alias is `alias`, for a packet with
    /// these labels. Each key that is tried needs a grant of its own.
    pub fn admit(
        &self,
        caller: &Caller,
        action: Action,
        (key, alias): (usize, &str),
        labels: &Labels,
    ) -> Option<Grant> {
        self.rules
            .iter()
            .any(|rule| {
                self.is_about(rule, caller)
                    && rule.to.contains(&action)
                    && rule.keys.iter().any(|known| known == alias)
                    && labels.contains_all(&rule.labels)
            })
            .then_some(Grant { key, action })
    }

    /// Whether any rule names the caller at all.
    pub fn knows(&self, caller: &Caller) -> bool {
        self.rules.iter().any(|rule| self.is_about(rule, caller))
    }

    /// What the caller may do with an alias for packets of some labels: what it is shown of a key.
    pub fn permissions(&self, caller: &Caller, alias: &str) -> Vec<Action> {
        [Action::Wrap, Action::Unwrap]
            .into_iter()
            .filter(|action| {
                self.rules.iter().any(|rule| {
                    self.is_about(rule, caller)
                        && rule.to.contains(action)
                        && rule.keys.iter().any(|known| known == alias)
                })
            })
            .collect()
    }

    fn is_about(&self, rule: &Rule, caller: &Caller) -> bool {
        match (&rule.who, caller) {
            (Who::User(wanted), Caller::Unix { uid, .. }) => wanted == uid && *uid != self.overflow_uid,
            (Who::Group(wanted), Caller::Unix { gid, .. }) => wanted == gid && *gid != self.overflow_gid,
            (Who::Tls(wanted), Caller::Tls { names }) => names.contains(wanted),
            (Who::Loopback, Caller::Loopback) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(who: Who, to: &[Action], key: &str, labels: &[(&str, &str)]) -> Rule {
        let mut wanted = Labels::default();
        for (name, value) in labels {
            wanted.insert(name, value).unwrap();
        }
        Rule { who, to: to.to_vec(), keys: vec![key.into()], labels: wanted }
    }

    fn caller(uid: u32, gid: u32) -> Caller {
        Caller::Unix { uid, gid }
    }

    fn admits(policy: &Policy, caller: Caller, action: Action, alias: &str, labels: &Labels) -> bool {
        policy.admit(&caller, action, (0, alias), labels).is_some()
    }

    #[test]
    fn without_a_rule_nobody_may_do_anything() {
        let policy = Policy::new(Vec::new());
        assert!(!admits(&policy, caller(0, 0), Action::Unwrap, "images", &Labels::default()));
        assert!(!policy.knows(&caller(0, 0)));
    }

    #[test]
    fn a_rule_is_about_its_user_its_actions_and_its_keys_alone() {
        let policy = Policy::new(vec![rule(Who::User(7), &[Action::Unwrap], "images", &[])]);
        let none = Labels::default();
        assert!(admits(&policy, caller(7, 1), Action::Unwrap, "images", &none));
        assert!(!admits(&policy, caller(8, 7), Action::Unwrap, "images", &none));
        assert!(!admits(&policy, caller(7, 1), Action::Wrap, "images", &none));
        assert!(!admits(&policy, caller(7, 1), Action::Unwrap, "other", &none));
        assert_eq!(policy.permissions(&caller(7, 1), "images"), [Action::Unwrap]);
    }

    #[test]
    fn every_label_of_a_rule_must_stand_in_the_packet() {
        let rules = vec![rule(Who::Group(5), &[Action::Unwrap], "images", &[("env", "prod")])];
        let policy = Policy::new(rules);
        let mut labels = Labels::default();
        assert!(!admits(&policy, caller(1, 5), Action::Unwrap, "images", &labels));
        labels.insert("env", "prod").unwrap();
        labels.insert("team", "a").unwrap();
        assert!(admits(&policy, caller(1, 5), Action::Unwrap, "images", &labels));
    }

    #[test]
    fn a_tls_name_and_loopback_match_their_own_kind_alone() {
        let policy = Policy::new(vec![
            rule(Who::Tls("node-1.example".into()), &[Action::Unwrap], "images", &[]),
            rule(Who::Loopback, &[Action::Wrap], "images", &[]),
        ]);
        let none = Labels::default();
        let tls =
            |names: &[&str]| Caller::Tls { names: names.iter().map(|name| (*name).to_owned()).collect() };
        assert!(admits(&policy, tls(&["x", "node-1.example"]), Action::Unwrap, "images", &none));
        assert!(!admits(&policy, tls(&["node-2.example"]), Action::Unwrap, "images", &none));
        assert!(!admits(&policy, tls(&["node-1.example"]), Action::Wrap, "images", &none));
        assert!(admits(&policy, Caller::Loopback, Action::Wrap, "images", &none));
        assert!(!policy.knows(&caller(0, 0)), "root is not loopback");
    }

    #[test]
    fn the_overflow_user_never_matches() {
        let uid = overflow_id("overflowuid");
        let gid = overflow_id("overflowgid");
        let policy = Policy::new(vec![
            rule(Who::User(uid), &[Action::Unwrap], "images", &[]),
            rule(Who::Group(gid), &[Action::Unwrap], "images", &[]),
        ]);
        assert!(!policy.knows(&caller(uid, gid)));
    }
}
