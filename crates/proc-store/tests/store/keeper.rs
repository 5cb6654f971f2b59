//! Records wait for the disk, the latest of each, and get there.

use proc_store::{Disk, Fault, FaultPlan, Keeper, Op, Read, Record, record};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    n: u32,
}

impl Record for Note {
    const FORMAT: u32 = 1;
}

/// Fault and moment: everything is said, nothing is lost, the old record stays meanwhile.
#[test]
fn every_fault_is_outlived() {
    let moments = [
        Some(Op::Create),
        Some(Op::Write),
        Some(Op::Sync),
        Some(Op::Rename),
        None,
    ];
    for (errno, name) in [
        (Errno::NOSPC, "ENOSPC"),
        (Errno::IO, "EIO"),
        (Errno::ROFS, "EROFS"),
        (Errno::MFILE, "EMFILE"),
    ] {
        for moment in moments {
            let dir = tempfile::tempdir().unwrap();
            let path = |name: &str| dir.path().join(format!("{name}.json"));
            let read = |name: &str| record::read_json::<Note>(&Disk::real(), &path(name)).unwrap();
            let plan = FaultPlan::none();
            let mut keeper = Keeper::new(Disk::faulty(plan.clone()));
            for service in ["a", "b", "gone"] {
                assert!(keeper.write(&path(service), &Note { n: 1 }));
            }
            plan.break_every(moment, Fault::Errno(errno.raw_os_error()));
            for n in 2..=9 {
                assert!(
                    !keeper.write(&path("a"), &Note { n }),
                    "{errno:?} {moment:?}"
                );
                assert!(!keeper.write(&path("b"), &Note { n }));
            }
            assert_eq!(
                (keeper.waiting(), keeper.degraded().as_deref()),
                (2, Some(name))
            );
            assert!(!keeper.retry());
            if moment != Some(Op::Sync) {
                assert_eq!(
                    read("a"),
                    Read::Value(Note { n: 1 }),
                    "{errno:?} {moment:?}"
                );
            }
            keeper.remove(&path("gone"));
            plan.heal();
            assert!(keeper.retry());
            assert_eq!((keeper.waiting(), keeper.degraded()), (0, None));
            assert_eq!(read("a"), Read::Value(Note { n: 9 }));
            assert_eq!(read("b"), Read::Value(Note { n: 9 }));
            assert_eq!(read("gone"), Read::Absent);
        }
    }
}
