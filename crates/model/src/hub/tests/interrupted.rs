//! Connections that are cut, bytes that are wrong, and what an earlier process has left.

use super::*;

fn range(start: usize) -> Option<String> {
    Some(format!("bytes={start}-"))
}

#[test]
fn a_cut_connection_goes_on_where_it_stopped() {
    let hub = Hub::model();
    hub.server.fault("/lfs/", 1, Kind::Cut(100_000));
    let snapshot = hub.fetch("org/tiny").unwrap();
    assert_eq!(std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights());
    assert_eq!(hub.ranges(), [None, range(100_000)]);
}

#[test]
fn a_connection_that_always_breaks_but_always_brings_something_arrives() {
    let hub = Hub::model();
    hub.server.fault("/lfs/", ALWAYS, Kind::Cut(70_000));
    hub.fetch("org/tiny").unwrap();
    assert_eq!(hub.ranges(), [None, range(70_000), range(140_000), range(210_000), range(280_000)]);
}

#[test]
fn a_process_goes_on_where_the_one_before_gave_up() {
    let hub = Hub::model();
    hub.server.fault("/lfs/", 1, Kind::Cut(100_000));
    hub.server.fault("/lfs/", ALWAYS, Kind::Cut(0));
    assert_eq!(
        hub.complaint("org/tiny"),
        "error: model.safetensors of org/tiny was interrupted at 100000 of 300000 bytes, 3 times in a row: the connection was \
         closed\nhelp: run the command again: the download resumes"
    );
    assert_eq!(hub.ranges(), [None, range(100_000), range(100_000)]);
    assert!(!hub.fetch("org/tiny").unwrap_err().is_of_input());
    hub.server.requests();
    assert!(!hub.repository().join("refs/main").exists());
    hub.server.heal();
    hub.fetch("org/tiny").unwrap();
    assert_eq!(hub.ranges(), [range(100_000)]);
}

#[test]
fn a_connection_that_closes_without_an_answer_is_made_again() {
    let hub = Hub::model();
    hub.server.fault("/resolve/", 2, Kind::Close);
    hub.fetch("org/tiny").unwrap();
}

#[test]
fn a_silent_connection_is_given_up() {
    let mut hub = Hub::model();
    hub.settings.patience = Duration::from_millis(200);
    hub.server.fault("/lfs/", 1, Kind::Hang(100_000));
    hub.fetch("org/tiny").unwrap();
    assert_eq!(hub.ranges(), [None, range(100_000)]);
}

#[test]
fn a_server_without_ranges_sends_the_whole_again() {
    let hub = Hub::model();
    hub.server.fault("/lfs/", 1, Kind::Cut(100_000));
    hub.server.fault("/lfs/", 1, Kind::Whole);
    let snapshot = hub.fetch("org/tiny").unwrap();
    assert_eq!(std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn what_was_left_and_does_not_fit_is_fetched_anew() {
    for left in [vec![7; 100_000], vec![7; 300_000], vec![7; 400_000]] {
        let hub = Hub::model();
        std::fs::create_dir_all(hub.repository().join("blobs")).unwrap();
        std::fs::write(hub.blob(&format!("{}.incomplete", sha256(&weights()))), &left).unwrap();
        let snapshot = hub.fetch("org/tiny").unwrap();
        assert_eq!(std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights(), "{}", left.len());
    }
}

#[test]
fn damaged_files_are_refused_and_do_not_stay() {
    for file in ["model.safetensors", "config.json"] {
        let hub = Hub::model();
        hub.server.fault(if file == "config.json" { file } else { "/lfs/" }, ALWAYS, Kind::Damage);
        let error = hub.fetch("org/tiny").unwrap_err();
        let HubError::Damaged { file: named, expected, found, .. } = &error else { panic!("{error}") };
        assert_eq!((named.as_str(), expected.len()), (file, if file == "config.json" { 40 } else { 64 }));
        assert_ne!(expected, found);
        assert_eq!(
            hub.shown(&error),
            format!(
                "error: {file} of org/tiny has arrived damaged: its hash is {found}, and {expected} was promised\nhelp: it has \
                 been deleted: run the command again; if that does not help, something on the way changes files"
            )
        );
        let blobs = names(&hub.repository().join("blobs"));
        assert!(!blobs.iter().any(|name| name.contains(expected.as_str())), "{blobs:?}");
        assert!(!names(&hub.repository().join("snapshots").join(COMMIT)).iter().any(|name| name == file));
        hub.server.heal();
        hub.fetch("org/tiny").unwrap();
    }
}

#[test]
fn a_link_whose_blob_was_deleted_is_made_anew() {
    let hub = Hub::model();
    let snapshot = hub.fetch("org/tiny").unwrap();
    std::fs::remove_file(hub.blob(&sha256(&weights()))).unwrap();
    hub.fetch("org/tiny").unwrap();
    assert_eq!(std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_blob_that_another_revision_has_is_linked() {
    let hub = Hub::model();
    std::fs::create_dir_all(hub.repository().join("blobs")).unwrap();
    std::fs::write(hub.blob(&sha256(&weights())), weights()).unwrap();
    hub.fetch("org/tiny").unwrap();
    assert_eq!(hub.ranges(), []);
}

#[test]
fn another_process_is_waited_for() {
    let hub = Hub::model();
    let partial = format!("{}.incomplete", sha256(&weights()));
    std::fs::create_dir_all(hub.repository().join("blobs")).unwrap();
    std::fs::write(hub.blob(&partial), &weights()[..1000]).unwrap();
    let locks = hub.cache.path().join(".locks/models--org--tiny");
    std::fs::create_dir_all(&locks).unwrap();
    let lock = std::fs::File::create(locks.join(format!("{}.lock", sha256(&weights())))).unwrap();
    lock.lock().unwrap();
    let lock = RefCell::new(Some(lock));
    // The other process is seen to have 1000 bytes; it then finishes and lets go.
    let finish = |progress: crate::hub::Progress<'_>| {
        if progress.file == "model.safetensors"
            && let Some(lock) = lock.take()
        {
            assert_eq!((progress.done, progress.total), (1000, 300_000));
            std::fs::write(hub.blob(&partial), weights()).unwrap();
            std::fs::rename(hub.blob(&partial), hub.blob(&sha256(&weights()))).unwrap();
            drop(lock);
        }
    };
    fetch(&HubId::parse("org/tiny").unwrap(), Wanted::Model, &hub.settings, &finish).unwrap();
    assert_eq!(hub.ranges(), []);
}
