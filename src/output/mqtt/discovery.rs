//! What Home Assistant is told of the device (MQTT discovery of devices, from release 2024.11 on).
//!
//! Everything in it is fixed at the start. No entity is a person, and none is made or removed while the daemon runs.

use serde_json::{Value, json};

use super::config::Topics;

/// Payload of the availability topic while the daemon is connected.
pub(super) const ONLINE: &str = "online";

/// The same when it has left, or is gone: the broker says this for it.
pub(super) const OFFLINE: &str = "offline";

/// An entity: its key in the state message, and what Home Assistant shows.
struct Entity {
    key: &'static str,
    platform: &'static str,
    name: &'static str,
    /// Whether it says something about the room, and so nothing where the camera sees nothing.
    of_room: bool,
    more: fn() -> Value,
}

/// Where people on the floor are reported.
const FLOOR: Entity = Entity {
    key: "on_floor",
    platform: "binary_sensor",
    name: "Person on the floor",
    of_room: true,
    more: || json!({"device_class": "safety", "payload_on": "True", "payload_off": "False"}),
};

const ENTITIES: [Entity; 7] = [
    Entity {
        key: "occupied",
        platform: "binary_sensor",
        name: "Occupancy",
        of_room: true,
        more: || json!({"device_class": "occupancy", "payload_on": "True", "payload_off": "False"}),
    },
    Entity {
        key: "people",
        platform: "sensor",
        name: "People",
        of_room: true,
        more: || json!({"state_class": "measurement", "icon": "mdi:account-group"}),
    },
    Entity {
        key: "action",
        platform: "sensor",
        name: "Action",
        of_room: true,
        more: || json!({"icon": "mdi:human-handsup"}),
    },
    Entity {
        key: "problem",
        platform: "binary_sensor",
        name: "Problem",
        of_room: false,
        more: || {
            json!({"device_class": "problem", "entity_category": "diagnostic", "payload_on": "True",
                "payload_off": "False"})
        },
    },
    Entity {
        key: "camera",
        platform: "sensor",
        name: "Camera",
        of_room: false,
        more: || {
            json!({"device_class": "enum", "options": ["running", "silent", "opening", "lost"],
                "entity_category": "diagnostic", "icon": "mdi:video"})
        },
    },
    Entity {
        key: "fps",
        platform: "sensor",
        name: "Frames per second",
        of_room: false,
        more: || {
            json!({"unit_of_measurement": "fps", "state_class": "measurement", "entity_category": "diagnostic",
                "icon": "mdi:speedometer"})
        },
    },
    Entity {
        key: "latency_ms",
        platform: "sensor",
        name: "Latency",
        of_room: false,
        more: || {
            json!({"device_class": "duration", "unit_of_measurement": "ms", "state_class": "measurement",
                "entity_category": "diagnostic"})
        },
    },
];

/// The message for the discovery topic. `floor`: people on the floor are reported.
pub(super) fn message(topics: &Topics, device: &str, camera: &str, floor: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let components: serde_json::Map<String, Value> = ENTITIES
        .iter()
        .chain(floor.then_some(&FLOOR))
        .map(|entity| (entity.key.to_owned(), component(entity, topics)))
        .collect();
    json!({
        "device": {
            "identifiers": [topics.id],
            "name": format!("poised {device} {camera}"),
            "manufacturer": "poised",
            "model": "pose estimation",
            "sw_version": version,
        },
        "origin": {"name": "poised", "sw_version": version},
        "components": components,
    })
    .to_string()
}

fn component(entity: &Entity, topics: &Topics) -> Value {
    let mut availability = vec![json!({"topic": topics.availability})];
    if entity.of_room {
        availability.push(json!({
            "topic": topics.state,
            "value_template": "{{ value_json.seeing }}",
            "payload_available": "True",
            "payload_not_available": "False",
        }));
    }
    let mut value = (entity.more)();
    let Value::Object(fields) = &mut value else {
        return value;
    };
    let (key, id) = (entity.key, &topics.id);
    for (field, value) in [
        ("platform", entity.platform.into()),
        ("name", entity.name.into()),
        ("unique_id", format!("{id}_{key}").into()),
        ("state_topic", topics.state.as_str().into()),
        // What is null in the message is `None` here, which is an unknown state.
        (
            "value_template",
            format!("{{{{ value_json.{key} }}}}").into(),
        ),
        ("availability", availability.into()),
        ("availability_mode", "all".into()),
    ] {
        fields.insert(field.to_owned(), value);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::config::MqttConfig;
    use super::*;

    #[test]
    fn each_entity_has_its_own_id_and_is_unavailable_without_the_daemon() {
        let topics = MqttConfig::default().topics("clinic", "kiosk-3", "front");
        let message: Value =
            serde_json::from_str(&message(&topics, "kiosk-3", "front", true)).unwrap();
        let components = message["components"].as_object().unwrap();
        assert_eq!(components.len(), ENTITIES.len() + 1);
        for (key, entity) in components {
            assert_eq!(
                entity["unique_id"],
                format!("poised_clinic_kiosk-3_front_{key}")
            );
            assert_eq!(entity["state_topic"], topics.state);
            assert_eq!(entity["availability"][0]["topic"], topics.availability);
            assert_eq!(entity["availability_mode"], "all");
            assert_eq!(
                entity["value_template"],
                format!("{{{{ value_json.{key} }}}}")
            );
        }
        for key in ["occupied", "people", "action", "on_floor"] {
            let seeing = &components[key]["availability"][1];
            assert_eq!(seeing["topic"], topics.state);
            assert_eq!(seeing["value_template"], "{{ value_json.seeing }}");
        }
        assert_eq!(
            components["problem"]["availability"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        let without: Value =
            serde_json::from_str(&super::message(&topics, "kiosk-3", "front", false)).unwrap();
        assert!(without["components"]["on_floor"].is_null());
        assert_eq!(message["device"]["identifiers"][0], topics.id);
        assert_eq!(message["origin"]["name"], "poised");
    }
}
