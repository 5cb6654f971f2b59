//! Event numbers never repeat or skip: over restarts, kills, rotations, full disks and damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proc_store::{
    AppendError, Disk, Fault, FaultPlan, Follower, Journal, JournalOptions, Op, read_since,
};
use proptest::prelude::*;
use rustix::io::Errno;
use serde_json::json;

use crate::support::{self, Helper};

/// Long enough for any machine, and only reached when something is broken.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

fn small() -> JournalOptions {
    JournalOptions {
        max_bytes: 2_000,
        max_waiting_bytes: 2_000,
        ..JournalOptions::default()
    }
}

fn open(path: &Path) -> Journal {
    Journal::open(path, small()).unwrap()
}

fn seqs(path: &Path, since: u64) -> Vec<u64> {
    read_since(path, since)
        .unwrap()
        .entries
        .iter()
        .map(|entry| entry.seq)
        .collect()
}

fn file(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("events.jsonl")
}

/// Names every file but the live one.
fn retired(dir: &tempfile::TempDir) -> Vec<String> {
    let name = |file: std::io::Result<fs::DirEntry>| file.unwrap().file_name().into_string();
    let names = fs::read_dir(dir.path())
        .unwrap()
        .map(|file| name(file).unwrap());
    names.filter(|name| name != "events.jsonl").collect()
}

fn assert_consecutive(seqs: &[u64]) {
    for pair in seqs.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "{seqs:?}");
    }
}

#[test]
fn numbers_go_on_over_restarts_and_rotations() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    for expected in 1..=300 {
        let mut journal = open(&path);
        assert_eq!(journal.append(&json!({"n": expected})).unwrap(), expected);
        assert_eq!(journal.repairs(), &proc_store::Repairs::default());
        drop(journal);
    }
    let kept = seqs(&path, 0);
    assert_consecutive(&kept);
    assert_eq!(kept.last(), Some(&300));
    assert!(kept.len() < 200, "bounded: {}", kept.len());
    let missed = read_since(&path, 0).unwrap().missed;
    assert_eq!(missed, kept[0] - 1, "what was rotated away is said");
    assert_eq!(seqs(&path, 290), (291..=300).collect::<Vec<_>>());
    assert!(seqs(&path, 300).is_empty());
    let sizes: u64 = fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(
        sizes < 4_500,
        "two files of 2,000 bytes and a line: {sizes}"
    );
}

#[test]
fn numbers_go_on_when_every_event_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    let mut journal = open(&path);
    let mut last = 0;
    // Exactly until the live file has been rotated and holds a header alone.
    while retired(&dir).is_empty() {
        last = journal.append(&json!({"text": "x".repeat(100)})).unwrap();
    }
    drop(journal);
    assert_eq!(retired(&dir), [format!("events.jsonl.{last}")]);
    fs::remove_file(dir.path().join(&retired(&dir)[0])).unwrap();
    assert_eq!(open(&path).append(&json!({})).unwrap(), last + 1);
}

#[test]
fn an_event_is_a_line_with_its_number_in_front() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    let mut journal = open(&path);
    journal
        .append(&json!({"seq": 99, "b": "line\nbreak \u{1b}[31m", "a": null}))
        .unwrap();
    journal.append(&json!({})).unwrap();
    for bad in [
        json!([1]),
        json!("text"),
        json!({"text": "x".repeat(300_000)}),
    ] {
        assert!(matches!(
            journal.append(&bad),
            Err(AppendError::Event { .. })
        ));
    }
    assert_eq!(
        journal.append(&json!({"z": 1})).unwrap(),
        3,
        "a refused event has no number"
    );
    let events = read_since(&path, 0).unwrap().entries;
    assert_eq!(
        events[0].text,
        r#"{"seq":1,"a":null,"b":"line\nbreak \u001b[31m"}"#
    );
    assert_eq!(events[1].text, r#"{"seq":2}"#);
    assert_eq!(
        events[2].parse::<serde_json::Value>().unwrap(),
        json!({"seq": 3, "z": 1})
    );
}

#[test]
fn age_rotates_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    let options = JournalOptions {
        max_age: Some(Duration::from_secs(60)),
        ..small()
    };
    let mut journal = Journal::open(&path, options).unwrap();
    let now = SystemTime::now();
    journal.append_at(&json!({}), now).unwrap();
    assert!(retired(&dir).is_empty());
    journal
        .append_at(&json!({}), now + Duration::from_secs(61))
        .unwrap();
    assert_eq!(retired(&dir), ["events.jsonl.2"]);
    assert_eq!(seqs(&path, 0), [1, 2]);
}

/// Whatever a killed writer or a lost power left of the last line.
#[test]
fn a_torn_last_line_is_repaired_wherever_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    let mut journal = open(&path);
    journal.append(&json!({"n": 1})).unwrap();
    let whole = fs::read(&path).unwrap().len();
    journal.append(&json!({"n": 2})).unwrap();
    drop(journal);
    let bytes = fs::read(&path).unwrap();
    for cut in whole..=bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert_eq!(
            seqs(&path, 0).len(),
            if cut == bytes.len() { 2 } else { 1 },
            "readers wait"
        );
        let mut journal = open(&path);
        let complete = cut + 1 >= bytes.len();
        assert_eq!(journal.last_seq(), if complete { 2 } else { 1 });
        assert_eq!(journal.repairs().completed, cut + 1 == bytes.len());
        let torn = if complete { 0 } else { cut - whole };
        assert_eq!(journal.repairs().torn_bytes, torn as u64);
        journal.append(&json!({"after": true})).unwrap();
        let kept = seqs(&path, 0);
        assert_consecutive(&kept);
        assert_eq!(kept.len(), if complete { 3 } else { 2 });
    }
}

#[test]
fn damage_in_the_middle_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    let mut journal = open(&path);
    (0..5).for_each(|n| assert_eq!(journal.append(&json!({"n": n})).unwrap(), n + 1));
    drop(journal);
    let text = fs::read_to_string(&path).unwrap();
    let damaged = text.replace("{\"seq\":3,", "\0\0\0\0\0\0\0\0");
    fs::write(&path, damaged).unwrap();
    assert_eq!(open(&path).append(&json!({})).unwrap(), 6);
    let since = read_since(&path, 0).unwrap();
    let kept: Vec<u64> = since.entries.iter().map(|entry| entry.seq).collect();
    assert_eq!((kept, since.missed), (vec![1, 2, 4, 5, 6], 1));
}

#[test]
fn absurd_numbers_are_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    let absurd = format!(
        "{{\"next\":{0},\"format\":1,\"created_ms\":{0}}}\n{{\"seq\":{0}}}\n",
        u64::MAX
    );
    fs::write(&path, absurd).unwrap();
    assert_eq!(open(&path).append(&json!({})).unwrap(), 1);
    assert_eq!(seqs(&path, 0), [1]);
}

#[test]
fn a_live_file_that_is_none_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    fs::create_dir(&path).unwrap();
    let mut journal = open(&path);
    let aside = journal.repairs().set_aside.clone().expect("reported");
    assert!(aside.aside.is_dir());
    assert_eq!(journal.append(&json!({})).unwrap(), 1);
}

#[test]
#[ignore = "a helper process of the test below"]
fn helper_appends_for_ever() {
    let Some(path) = support::path() else { return };
    let mut journal = open(&path);
    loop {
        let seq = journal.append(&json!({"text": "x".repeat(50)})).unwrap();
        if seq.is_multiple_of(7) {
            support::say(seq);
        }
    }
}

#[test]
fn writers_killed_at_any_moment_leave_no_gap_and_no_repetition() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    let mut follower = Follower::new(&path, 0).unwrap();
    let (mut seen, mut said) = (Vec::new(), 0);
    for _ in 0..40 {
        let mut helper = Helper::run(concat!(module_path!(), "::helper_appends_for_ever"), &path);
        said = helper
            .hear()
            .and_then(|word| word.parse().ok())
            .expect("a number");
        helper.kill();
        let since = follower.poll().unwrap();
        seen.extend(since.entries.iter().map(|entry| entry.seq));
    }
    let last = open(&path).last_seq();
    assert!(last >= said);
    let kept = seqs(&path, 0);
    assert_consecutive(&kept);
    assert_eq!(kept.last(), Some(&last));
    assert!(
        seen.is_sorted_by(|a, b| a < b),
        "a reader never sees a number twice"
    );
}

/// Rotation killed between any two of its steps.
#[test]
fn a_crash_at_every_step_keeps_the_numbers() {
    for at in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir);
        let disk = Disk::faulty(FaultPlan::at(at, Fault::Crash));
        let options = JournalOptions {
            max_bytes: 400,
            keep: 3,
            ..small()
        };
        if let Ok(mut journal) = Journal::open_on(disk, &path, options) {
            for n in 0..30 {
                if journal.append(&json!({"n": n})).is_err() || journal.trouble().is_some() {
                    break;
                }
            }
        }
        let shown = seqs(&path, 0);
        assert_consecutive(&shown);
        let mut journal = Journal::open(&path, options).unwrap();
        let next = journal.append(&json!({"after": at})).unwrap();
        assert_eq!(
            next,
            shown.last().map_or(1, |last| last + 1),
            "step {at}: {shown:?}"
        );
        let kept = seqs(&path, 0);
        assert_consecutive(&kept);
        assert!(kept.len() > shown.len(), "step {at}: nothing shown is lost");
    }
}

/// Fault and moment: the journal goes on, says so, and loses nothing once the fault ends.
#[test]
fn events_wait_while_the_disk_refuses() {
    let faults = [Errno::NOSPC, Errno::IO, Errno::ROFS, Errno::MFILE];
    let moments = [
        Some(Op::Write),
        Some(Op::Truncate),
        Some(Op::Rename),
        Some(Op::Create),
        None,
    ];
    for errno in faults {
        for moment in moments {
            let dir = tempfile::tempdir().unwrap();
            let path = file(&dir);
            let plan = FaultPlan::none();
            let options = JournalOptions {
                max_bytes: 500,
                keep: 9,
                ..small()
            };
            let disk = Disk::faulty(plan.clone());
            let mut journal = Journal::open_on(disk, &path, options).unwrap();
            journal.append(&json!({"n": 0})).unwrap();
            let follower_at = journal.last_seq();
            plan.break_every(moment, Fault::Errno(errno.raw_os_error()));
            for n in 1..=30 {
                assert_eq!(
                    journal.append(&json!({"n": n})).unwrap(),
                    n + 1,
                    "{errno:?} {moment:?}"
                );
                assert_consecutive(&seqs(&path, 0));
                assert_eq!(
                    seqs(&path, 0).last(),
                    Some(&journal.last_seq()),
                    "what is shown is written"
                );
            }
            if moment == Some(Op::Write) || moment.is_none() {
                assert_eq!(journal.waiting(), 30);
                assert_eq!(journal.last_seq(), follower_at);
            }
            if moment != Some(Op::Truncate) {
                let trouble = journal.trouble().and_then(std::io::Error::raw_os_error);
                assert_eq!(trouble, Some(errno.raw_os_error()), "{moment:?}");
            }
            plan.heal();
            assert!(journal.flush(), "{errno:?} {moment:?}");
            assert_eq!(journal.append(&json!({"n": 31})).unwrap(), 32);
            assert!(journal.trouble().is_none(), "{:?}", journal.trouble());
            assert_eq!(
                seqs(&path, 0),
                (1..=32).collect::<Vec<_>>(),
                "{errno:?} {moment:?}"
            );
        }
    }
}

#[test]
fn an_interrupted_call_is_simply_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    for at in 0..12 {
        let plan = FaultPlan::at(at, Fault::Errno(Errno::INTR.raw_os_error()));
        let mut journal = Journal::open_on(Disk::faulty(plan), &path, small()).unwrap();
        assert_eq!(
            journal.append(&json!({})).unwrap(),
            u64::try_from(at).unwrap() + 1
        );
        assert!(journal.trouble().is_none());
    }
}

#[test]
fn waiting_is_bounded_and_refusals_use_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    let plan = FaultPlan::none();
    let mut journal = Journal::open_on(Disk::faulty(plan.clone()), &path, small()).unwrap();
    plan.break_every(Some(Op::Write), Fault::Errno(Errno::NOSPC.raw_os_error()));
    let event = json!({"text": "x".repeat(80)});
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..100 {
        match journal.append(&event) {
            Ok(_) => taken += 1,
            Err(AppendError::Full { source, .. }) => {
                assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!((15..=25).contains(&taken), "{taken}");
    plan.heal();
    assert_eq!(journal.take_lost(), refused);
    assert_eq!(
        journal.append(&json!({"lost": refused})).unwrap(),
        taken + 1
    );
    assert_eq!(seqs(&path, 0), (1..=taken + 1).collect::<Vec<_>>());
    assert_eq!(journal.lost(), 0);
}

#[test]
fn a_follower_sees_everything_once_over_rotations_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir);
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            for round in 0..20 {
                // Nothing is removed before a follower that had to wait for the processor has seen it.
                let options = JournalOptions {
                    keep: 1_000,
                    ..small()
                };
                let mut journal = Journal::open(&path, options).unwrap();
                for n in 0..50 {
                    assert_eq!(
                        journal.append(&json!({"n": n})).unwrap(),
                        round * 50 + n + 1
                    );
                }
            }
        }
    });
    let mut follower = Follower::new(&path, 0).unwrap();
    let mut seen = Vec::new();
    while seen.len() < 1_000 {
        let since = follower.wait(PATIENCE).unwrap();
        assert!(
            !since.entries.is_empty(),
            "nothing came after {:?}",
            seen.last()
        );
        assert_eq!(since.missed, 0);
        seen.extend(since.entries.iter().map(|entry| entry.seq));
    }
    writer.join().unwrap();
    assert_eq!(seen, (1..=1_000).collect::<Vec<_>>());
    assert_eq!(follower.last_seq(), 1_000);
    assert!(
        follower
            .wait(Some(Duration::ZERO))
            .unwrap()
            .entries
            .is_empty()
    );
    let mut resumed = Follower::new(&path, 998).unwrap();
    assert_eq!(resumed.wait(PATIENCE).unwrap().entries.len(), 2);
}

#[test]
fn readers_of_nothing_see_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(seqs(&file(&dir), 0).is_empty());
    assert!(seqs(&dir.path().join("no/such/events.jsonl"), 0).is_empty());
    let mut follower = Follower::new(file(&dir), 0).unwrap();
    assert!(follower.poll().unwrap().entries.is_empty());
    open(&file(&dir)).append(&json!({})).unwrap();
    assert_eq!(follower.wait(PATIENCE).unwrap().entries.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_file_is_opened_and_written_after(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..600),
            "(\\{\"seq\":[0-9]{1,3},?[a-z\"}\n]{0,9}|\n){0,40}".prop_map(String::into_bytes),
        ],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir);
        fs::write(&path, &bytes).unwrap();
        let before = seqs(&path, 0).into_iter().max().unwrap_or(0);
        let mut journal = open(&path);
        let seq = journal.append(&json!({"after": "damage"})).unwrap();
        prop_assert!(seq > before);
        drop(journal);
        prop_assert_eq!(open(&path).last_seq(), seq);
    }
}
