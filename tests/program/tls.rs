//! `examples/zenoh-tls.json5`: who may read over the network, and who may not.
//!
//! Skipped, with the reason printed, where the openssl program is missing: the
//! certificates are made again each time.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::samples::two_people;
use poised::adapt::control::Control;
use poised::base::clock::Clock;
use poised::counters::Counters;
use poised::motion::exercise::ExerciseConfig;
use poised::motion::hint::{HeldHints, Hints};
use poised::output::session::Offered;
use poised::output::{
    Documents, Outlet, PublishConfig, Publisher, Sessions, SessionsConfig, ZenohConfig,
};
use zenoh::{Session, Wait};

/// Runs openssl in `folder`.
fn openssl(folder: &Path, words: &str) -> Result<(), String> {
    let output = Command::new("openssl")
        .args(words.split_whitespace())
        .current_dir(folder)
        .output()
        .map_err(|error| format!("openssl: {error}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {words}: {complaint}");
    Ok(())
}

/// An authority, and certificates of it for `device` and the others.
fn certificates(folder: &Path) -> Result<(), String> {
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(
        folder,
        &format!("{new} -keyout ca.key -out ca.pem -subj /CN=authority"),
    )?;
    openssl(
        folder,
        &format!("{new} -keyout alien.key -out alien.pem -subj /CN=reader"),
    )?;
    std::fs::write(folder.join("names"), "subjectAltName = IP:127.0.0.1\n").unwrap();
    for name in ["device", "reader", "kiosk", "stranger"] {
        let ask = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(
            folder,
            &format!("{ask} -keyout {name}.key -out {name}.csr -subj /CN={name}"),
        )?;
        let sign = "x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
        openssl(folder, &format!("{sign} -in {name}.csr -out {name}.pem"))?;
    }
    Ok(())
}

/// A reader that shows the certificate `name`; `None` where it is not let in.
fn reader(folder: &Path, endpoint: &str, name: &str) -> Option<Session> {
    let mut config = zenoh::Config::default();
    let mut set = |key: &str, value: String| config.insert_json5(key, &value).unwrap();
    let file = |name: String| format!("{:?}", folder.join(name).to_str().unwrap());
    set("mode", "\"client\"".into());
    set("scouting/multicast/enabled", "false".into());
    set("connect/endpoints", format!("[{endpoint:?}]"));
    set("connect/timeout_ms", "2000".into());
    let tls = "transport/link/tls";
    set(&format!("{tls}/root_ca_certificate"), file("ca.pem".into()));
    set(&format!("{tls}/enable_mtls"), "true".into());
    set(
        &format!("{tls}/connect_certificate"),
        file(format!("{name}.pem")),
    );
    set(
        &format!("{tls}/connect_private_key"),
        file(format!("{name}.key")),
    );
    zenoh::open(config).wait().ok()
}

/// Counts the messages that come under a key.
fn count(session: &Session, key: &str) -> Arc<AtomicUsize> {
    let counted = Arc::new(AtomicUsize::new(0));
    let into = Arc::clone(&counted);
    session
        .declare_subscriber(key)
        .callback(move |_| {
            into.fetch_add(1, Ordering::SeqCst);
        })
        .background()
        .wait()
        .unwrap();
    counted
}

/// The device of the example, on a free port, with the certificates in `folder`.
fn device(folder: &Path) -> ZenohConfig {
    let example = include_str!("../../examples/zenoh-tls.json5");
    let ours = example.replace("/etc/poised/tls", folder.to_str().unwrap());
    assert_ne!(ours, example);
    std::fs::write(folder.join("zenoh.json5"), ours).unwrap();
    // TLS endpoints keep their port; a free one is looked for here.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tls/{}", port.local_addr().unwrap());
    drop(port);
    ZenohConfig {
        site: "clinic".into(),
        device: "kiosk-3".into(),
        listen: Some(vec![endpoint]),
        config_file: Some(folder.join("zenoh.json5")),
        ..ZenohConfig::default()
    }
}

/// The device of the example and where it listens; the reason where no certificates can be made.
fn secured(folder: &Path) -> Result<(ZenohConfig, String), String> {
    certificates(folder)?;
    let config = device(folder);
    let endpoint = config.listen.as_ref().unwrap()[0].clone();
    Ok((config, endpoint))
}

#[test]
fn only_a_reader_with_the_right_name_and_authority_gets_poses() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (config, endpoint) = match secured(folder) {
        Ok(secured) => secured,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let clock = Clock::live();
    let counters = Counters::default();
    let outlet = Outlet::open(&config, "front", Documents::default(), clock.now()).unwrap();
    let settings = PublishConfig::default();
    let mut publisher = Publisher::new(
        &settings,
        "front",
        Arc::default(),
        &clock,
        &counters,
        outlet,
    );

    assert!(
        reader(folder, &endpoint, "alien").is_none(),
        "another authority"
    );
    let reads = reader(folder, &endpoint, "reader").unwrap();
    let strange = reader(folder, &endpoint, "stranger").unwrap();
    let read = count(&reads, "poised/clinic/*/*/poses");
    let overheard = count(&strange, "poised/clinic/*/*/poses");
    let mut sample = two_people();
    for _ in 0..300 {
        sample.capture = clock.now();
        publisher.publish(&mut sample);
        std::thread::sleep(Duration::from_millis(10));
        if read.load(Ordering::SeqCst) >= 50 {
            break;
        }
    }
    assert!(read.load(Ordering::SeqCst) >= 50);
    assert_eq!(overheard.load(Ordering::SeqCst), 0);

    // No certificate at all, and no TLS at all.
    let mut bare = zenoh::Config::default();
    let ca = format!("{:?}", folder.join("ca.pem").to_str().unwrap());
    for (key, value) in [
        ("mode", "\"client\""),
        ("scouting/multicast/enabled", "false"),
        ("connect/timeout_ms", "2000"),
        ("transport/link/tls/root_ca_certificate", &ca),
    ] {
        bare.insert_json5(key, value).unwrap();
    }
    for address in [endpoint.clone(), endpoint.replace("tls/", "tcp/")] {
        let mut config = bare.clone();
        config
            .insert_json5("connect/endpoints", &format!("[{address:?}]"))
            .unwrap();
        let got_in = zenoh::open(config).wait().ok().is_some_and(|session| {
            // TLS 1.3 tells a client of its refusal only after it thinks to be in.
            let heard = count(&session, "poised/clinic/*/*/poses");
            for _ in 0..50 {
                sample.capture = clock.now();
                publisher.publish(&mut sample);
                std::thread::sleep(Duration::from_millis(10));
            }
            heard.load(Ordering::SeqCst) > 0
        });
        assert!(!got_in, "{address} without a certificate");
    }

    let ask = |session: &Session| {
        let timeout = Duration::from_secs(2);
        let replies = session.get("poised/clinic/*/*/last").timeout(timeout);
        let replies = replies.wait().unwrap();
        replies
            .into_iter()
            .filter(|reply| reply.result().is_ok())
            .count()
    };
    assert_eq!(ask(&reads), 1);
    assert_eq!(ask(&strange), 0);
}

#[test]
fn only_the_kiosk_may_send_hints_and_control() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (config, endpoint) = match secured(folder) {
        Ok(secured) => secured,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let clock = Arc::new(Clock::live());
    let mut outlet = Outlet::open(&config, "front", Documents::default(), clock.now()).unwrap();
    let hints = Arc::new(Hints::new(vec!["squat".into()], Arc::clone(&clock)));
    outlet.hear_hints(Arc::clone(&hints)).unwrap();
    let control = Arc::new(Control::default());
    outlet.hear_control(Arc::clone(&control)).unwrap();
    let hint = [
        &[0xA2, 0x65][..],
        b"label",
        &[0x65],
        b"squat",
        &[0x65],
        b"for_s",
        &[0x02],
    ]
    .concat();
    let freeze = [&[0xA1, 0x67][..], b"command", &[0x66], b"freeze"].concat();

    let say = |name: &str| {
        let session = reader(folder, &endpoint, name).unwrap();
        for _ in 0..10 {
            for (leaf, bytes) in [("hint", &hint), ("control", &freeze)] {
                let key = format!("poised/clinic/kiosk-3/front/{leaf}");
                session.put(key, bytes.clone()).wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        session.close().wait().unwrap();
    };
    assert!(
        reader(folder, &endpoint, "alien").is_none(),
        "another authority"
    );
    say("stranger");
    say("reader");
    assert_eq!(
        hints.counts(),
        (0, 0),
        "neither taken nor refused: not heard"
    );
    assert!(control.take().is_none());
    assert_eq!(control.refused(), 0);
    // A query carries a command as well, and readers may ask all else; wildcards are no way round.
    let ask = |name: &str, key: &str| {
        let session = reader(folder, &endpoint, name).unwrap();
        let get = session.get(key.to_owned()).payload(freeze.clone());
        let replies = get.timeout(Duration::from_secs(1)).wait().unwrap();
        let answered = replies.into_iter().count();
        session.close().wait().unwrap();
        answered
    };
    for key in [
        "poised/clinic/kiosk-3/front/control",
        "poised/clinic/kiosk-3/*/control",
        "poised/clinic/**",
    ] {
        ask("reader", key);
        assert!(control.take().is_none(), "{key}");
    }
    ask("kiosk", "poised/clinic/kiosk-3/front/control");
    let asked = control.take().map(|order| order.command);
    assert_eq!(asked, Some(poised::adapt::Command::Freeze));
    say("kiosk");
    assert!(hints.counts().0 > 0, "{:?}", hints.counts());
    let mut held = HeldHints::new();
    hints.take(&mut held);
    assert_eq!(held[0].entry, 0);
    let told = control.take().map(|order| order.command);
    assert_eq!(told, Some(poised::adapt::Command::Freeze));
}

#[test]
fn only_the_kiosk_may_run_sessions_and_read_their_summaries() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (config, endpoint) = match secured(folder) {
        Ok(secured) => secured,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let clock = Arc::new(Clock::live());
    let mut outlet = Outlet::open(&config, "front", Documents::default(), clock.now()).unwrap();
    let wanted = SessionsConfig {
        enabled: true,
        ..SessionsConfig::default()
    };
    let offered = Offered {
        exercises: ExerciseConfig::default().all().unwrap(),
        usual: Some("squat".into()),
    };
    let sessions = Sessions::open(&wanted, offered, "front", &clock).unwrap();
    let sessions = sessions.unwrap();
    outlet.hear_sessions(sessions.desk()).unwrap();

    let ask = |name: &str, key: &str, word: &str| {
        let mut request = vec![0xA1, 0x67];
        request.extend(b"command");
        request.push(0x60 + u8::try_from(word.len()).unwrap());
        request.extend(word.as_bytes());
        let session = reader(folder, &endpoint, name).unwrap();
        let get = session.get(key.to_owned()).payload(request);
        let replies = get.timeout(Duration::from_secs(2)).wait().unwrap();
        let answered = replies
            .into_iter()
            .filter_map(|reply| reply.into_result().ok())
            .filter(|sample| sample.key_expr().as_str().contains("/session"))
            .count();
        session.close().wait().unwrap();
        answered
    };
    let own = "poised/clinic/kiosk-3/front/session";
    assert_eq!(ask("stranger", own, "start"), 0);
    for key in [own, "poised/clinic/*/front/session", "poised/**"] {
        assert_eq!(ask("reader", key, "start"), 0, "{key}");
    }
    assert_eq!(ask("kiosk", own, "start"), 1);
    assert_eq!(ask("reader", own, "stop"), 0);
    assert_eq!(ask("kiosk", own, "stop"), 1);
    for leaf in ["summary", "page"] {
        let key = format!("{own}/{leaf}");
        for (name, key) in [
            ("reader", key.as_str()),
            ("reader", "poised/*/*/*/session/*"),
        ] {
            assert_eq!(ask(name, key, "x"), 0, "{key}");
        }
        assert_eq!(ask("kiosk", &key, "x"), 1, "{key}");
    }
}
