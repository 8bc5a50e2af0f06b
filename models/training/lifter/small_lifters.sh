#!/bin/sh
# Trains the small lifters and today's at equal processor time on the same windows, compares them, and makes a model
# folder of each small one. Ring and motion must be there:
#
#     MOTION=DIR POOL=DIR RUN=DIR MINUTES=7 models/training/lifter/small_lifters.sh
#
# Folders as absolute paths. MINUTES of one core for each network. Checkpoints and logs are kept in RUN; what is finished
# there (RUN/NAME.done) is not trained again. LIFTER_MS is examples/lifter_ms built; without it tract is not timed.
set -eu

: "${MOTION:?folder of motion_*.safetensors}" "${POOL:?folder of pool.py}" "${RUN:?folder for what is made}"
: "${MINUTES:=7}" "${COUNT:=4000}" "${PYTHON:=python}" "${NAMES:=tcn-small convformer gla-gcn ktpformer hot}"
cd "$(dirname "$0")"
export OMP_NUM_THREADS=1
mkdir -p "$RUN"

title() {
    case $1 in
        tcn-small) echo "A small strided temporal network" ;;
        convformer) echo "Convolutional attention (ConvFormer), small and causal" ;;
        gla-gcn) echo "Adaptive graphs (GLA-GCN), small and causal" ;;
        ktpformer) echo "Attention behind priors of skeleton and trajectory (KTPFormer), small and causal" ;;
        hot) echo "An hourglass of tokens (HoT), small and causal" ;;
        *) echo "$1" ;;
    esac
}

for name in $NAMES tcn-deep; do
    [ -e "$RUN/$name.done" ] && continue
    # The strided networks run through windows ten times as fast; the others take more steps of fewer.
    case $name in tcn*) batch=128 ;; *) batch=64 ;; esac
    "$PYTHON" train.py --pool "$POOL" --backbone "$name" --cpu --minutes "$MINUTES" --batch "$batch" --rate 1e-3 \
        --float32 --out "$RUN/$name.pt" >"$RUN/$name.log"
    : >"$RUN/$name.done"
done

models=$PWD/../..
weights=$models/lifter folders=
for name in $NAMES; do
    folder=$models/lifter-$name
    "$PYTHON" calibrate.py --motion "$MOTION" --weights "$RUN/$name.pt" --count 3000 --out "$RUN/$name-calibrated.pt"
    "$PYTHON" export.py --weights "$RUN/$name-calibrated.pt" --without-image --out "$folder" \
        --describe "$(title "$name")" \
        >"$RUN/$name-export.json"
    weights="$weights $RUN/$name.pt" folders="$folders $folder"
done
# shellcheck disable=SC2086 # lists of words
if [ -n "${LIFTER_MS:-}" ]; then
    "$LIFTER_MS" "$models/lifter" $folders >"$RUN/tract.json"
else
    echo '{}' >"$RUN/tract.json"
fi
# shellcheck disable=SC2086
"$PYTHON" compare.py --motion "$MOTION" --weights $weights "$RUN/tcn-deep.pt" --count "$COUNT" \
    --tract "$RUN/tract.json" --out "$RUN/lifters.json"
for folder in $folders; do
    "$PYTHON" card.py --table "$RUN/lifters.json" --folder "$folder"
done
