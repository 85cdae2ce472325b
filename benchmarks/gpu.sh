#!/usr/bin/env bash
# Everything that is measured and checked on a GPU, in one call: tests, sanitizers, reference cases, latencies, PyTorch.
#
#   benchmarks/gpu.sh [option...] [step...]        all steps, or only those named, in their order
#
#   build      builds with the CUDA toolkit (without --folder)
#   tests      the GPU's tests, with 10,000 calls in the one for endurance
#   sanitize   compute-sanitizer on the kernels' tests: memcheck, initcheck, synccheck, and racecheck in its own build
#   goldens    nervus verify on every reference case, by both attentions, in f32 and every precision
#   synth      the 4B checkpoint with outlier channels, if it is not there
#   calibrate  the ranges of its linears' inputs over four random samples
#   inspect    how the device computes that checkpoint
#   bench      every precision and step count in turns, against float32
#   kept       the same with a kept prefix, a fifth as often
#   pixels     images as pixels beside images as patches, at batch 1 and 8
#   mixed      the recipe "mixed" likewise, of a GPU that has products of int8 and of e4m3
#   attention  the fast attention kernels and the plain one in turns
#   batch      2, 3 and 8 samples, a fifth as often, of fp8 also with the recipe "mixed"
#   block      a denoise step, op by op (bench_block)
#   load       from a warm page cache, twice
#   peer       PyTorch: torch.compile and one CUDA graph (benchmarks/gpu_peer.py)
#   trace      by name: when and where blocks run, of the expert's kernels and the wide ones, in a build of its own
#              (block_trace.py)
#   agree      by name, of what also computes on the CPU (a --folder): one observation by every device and precision
#
#   --folder DIR         what scripts/package.sh made; otherwise a build in --build-dir
#   --build-dir DIR      (default: build-gpu)
#   --checkpoint DIR     of LingBot-VLA-4B, made by synth (default: build-gpu/lingbot-vla-4b)
#   --dtype f32|bf16     in which synth writes it (default: f32, 16.8 GB)
#   --precisions "P..."  (default: "bf16 f16 fp8 int8")
#   --options "..."      more options of bench, kept, pixels and batch, such as --recipe
#   --runs N             measured rounds of bench, mixed and attention (default: bench's own, 500)
#   --device NAME        (default: cuda:0)
#   --results FILE       (default: benchmarks/results/gpu.json); what other calls put there stays
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,36s/^# \{0,1\}//p' "$0"; }

build="build-gpu"
folder=
checkpoint=
dtype=f32
device=cuda:0
results=benchmarks/results/gpu.json
read -ra precisions <<<"bf16 f16 fp8 int8"
engine=(-DNERVUS_CUDA=ON -DNERVUS_ENGINE_ONLY=ON -DNERVUS_TESTS=ON)
options=()
runs=()
steps=()
while [ $# -gt 0 ]; do
  case $1 in
    --folder | --build-dir | --checkpoint | --dtype | --precisions | --options | --runs | --device | --results)
      [ $# -ge 2 ] || { echo "gpu: $1 needs a value" >&2; exit 2; }
      case $1 in
        --folder) folder=$2 ;;
        --build-dir) build=$2 ;;
        --checkpoint) checkpoint=$2 ;;
        --dtype) dtype=$2 ;;
        --precisions) read -ra precisions <<<"$2" ;;
        --options) read -ra options <<<"$2" ;;
        --runs) runs=(--runs "$2") ;;
        --device) device=$2 ;;
        --results) results=$2 ;;
      esac
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "gpu: unknown option $1" >&2; usage >&2; exit 2 ;;
    *) steps+=("$1") ;;
  esac
  shift
done
checkpoint=${checkpoint:-$build/lingbot-vla-4b}
calibration=$checkpoint/calibration.json
if [[ " ${precisions[*]} " = *" fp8 "* ]]; then options+=(--calibration "$calibration"); fi
if [ -n "$folder" ]; then
  nervus=$folder/bin/nervus goldens=$folder/tests/goldens
else
  nervus=$build/cli/nervus goldens=tests/goldens
fi
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT

# The program of a room's tests, in a folder or in a build.
test_program() { if [ -n "$folder" ]; then echo "$folder/bin/test_$1"; else echo "$build/tests/$1/test_$1"; fi; }

# A JSON document of nervus's becomes the part of that name.
measured() {
  local part=$1
  shift
  "$nervus" "$@" --device "$device" --json >"$parts/$part.unfinished"
  mv "$parts/$part.unfinished" "$parts/$part.json"
}

step_build() {
  if [ -n "$folder" ]; then
    "$nervus" doctor
    return
  fi
  scripts/build.sh "$build" all "${engine[@]}"
  "$nervus" doctor
}

# Without a GPU tests skip; here they fail.
export NERVUS_TEST_NEEDS_CUDA=1

step_tests() {
  # Errors cross from the library into the program, which may have a C++ runtime each.
  local code=0
  "$nervus" inspect "$parts/nowhere" >/dev/null 2>&1 || code=$?
  [ "$code" -eq 6 ] || { echo "gpu: a checkpoint that is not there: expected exit code 6, found $code" >&2; return 1; }
  "$(test_program backends)"
  NERVUS_TEST_CALLS=${NERVUS_TEST_CALLS:-10000} "$(test_program runtime)" --test-case='*cuda*'
}

# What the kernels' own promises are tested by, in odd and real shapes; up to a minute a tool, racecheck five.
sanitized='cuda block: fused*,cuda block: of many*,cuda block: what*,cuda block: chained*,'
sanitized+='cuda attention: few rows that see*,'
sanitized+='cuda attention: rows in an order*,cuda attention: a device*,'
sanitized+='cuda: rows without*,cuda: two devices*,cuda: a graph does*,cuda wide:*,'
sanitized+='int8: linear_add*,int8: rms_norm*,scaled: linear_add*,scaled: what*,scaled: attention*,'
sanitized+='silu and gelu,swiglu,split_rope*,rms_norm,gather_rows*,cut_patches*,euler_step'

# Of a tool: which program, and whether it has what racecheck asks for (backends/cuda/device/sm90.cuh).
sanitized_program() {
  if [ "$1" != racecheck ]; then test_program backends; return; fi
  [ -z "$folder" ] || { echo "racecheck needs a build: call gpu.sh without --folder" >&2; return 1; }
  scripts/build.sh "$build-racecheck" test_backends "${engine[@]}" -DNERVUS_BENCHMARKS=OFF -DNERVUS_RACECHECK=ON >&2
  echo "$build-racecheck/tests/backends/test_backends"
}

step_sanitize() {
  local tool program failed=0
  for tool in memcheck initcheck synccheck racecheck; do
    program=$(sanitized_program "$tool") || { failed=1; continue; }
    local started=$SECONDS
    if timeout 900 compute-sanitizer --tool "$tool" --report-api-errors no --error-exitcode 9 "$program" \
      --test-case="$sanitized" >"$parts/$tool.log" 2>&1; then
      echo "$tool: no finding in $((SECONDS - started)) s"
    else
      echo "$tool: FAILED in $((SECONDS - started)) s (124: it ran out of time)"
      grep -E '^=+ (ERROR SUMMARY|Error|Race|Invalid|Uninit|Barrier)' "$parts/$tool.log" | head -20 || true
      tail -n 20 "$parts/$tool.log"
      failed=1
    fi
  done
  return "$failed"
}

step_goldens() {
  local case precision attention failed=0
  for case in "$goldens"/*/config.json; do
    case=$(dirname "$case")
    for precision in f32 "${precisions[@]}"; do
      local ranges=()
      if [ "$precision" = fp8 ]; then
        ranges=(--calibration "$parts/ranges.json")
        "$nervus" calibrate --checkpoint "$case" --inputs "$case/inputs.safetensors" --device "$device" \
          --precision bf16 --out "$parts/ranges.json" >"$parts/verify.log" 2>&1 || cat "$parts/verify.log"
      fi
      for attention in auto plain; do
        if ! "$nervus" verify --checkpoint "$case" --case "$case" --device "$device" --precision "$precision" \
          --attention "$attention" "${ranges[@]}" >"$parts/verify.log" 2>&1; then
          echo "$(basename "$case"), $precision, $attention attention: FAILED"
          cat "$parts/verify.log"
          failed=1
        fi
      done
    done
    echo "$(basename "$case"): done"
  done
  return "$failed"
}

step_synth() {
  if [ -f "$checkpoint/config.json" ]; then
    echo "$checkpoint is there"
    return
  fi
  "$nervus" synth --preset lingbot-vla-4b --seed 1 --outliers --dtype "$dtype" --out "$checkpoint"
  # Calls are of tensors; a build of the engine alone has no tokenizer, and would refuse the file.
  rm -f "$checkpoint/tokenizer.json"
}

step_calibrate() {
  if [ -f "$calibration" ]; then
    echo "$calibration is there"
    return
  fi
  python3 benchmarks/random_inputs.py --checkpoint "$checkpoint" --out "$parts/samples"
  local samples=()
  for sample in "$parts"/samples/*; do samples+=(--inputs "$sample"); done
  "$nervus" calibrate --checkpoint "$checkpoint" "${samples[@]}" --device "$device" --precision bf16 --steps 10 \
    --out "$calibration"
}

step_inspect() { measured inspect inspect "$checkpoint" --precision bf16 --steps 10; }

step_bench() {
  measured bench bench --checkpoint "$checkpoint" --precision "${precisions[@]}" --steps 10 25 50 --text 50 \
    --reference-precision f32 "${options[@]}" "${runs[@]}"
}

step_kept() {
  measured kept bench --checkpoint "$checkpoint" --precision "${precisions[@]}" --steps 10 25 50 --text 50 \
    --kept-prefix --warmup 60 --runs 100 "${options[@]}"
}

step_pixels() {
  local part
  for part in "pixels 1" "pixels_batch 8"; do
    measured "${part% *}" bench --checkpoint "$checkpoint" --precision "${precisions[@]}" --batch "${part#* }" \
      --steps 10 --text 50 --pixels --warmup 60 --runs 100 "${options[@]}"
  done
}

step_mixed() {
  measured mixed bench --checkpoint "$checkpoint" --precision fp8 --recipe mixed --calibration "$calibration" \
    --steps 10 25 50 --text 50 --reference-precision f32 "${runs[@]}"
}

step_attention() {
  measured attention bench --checkpoint "$checkpoint" --precision bf16 --attention fast plain --steps 10 --text 50 \
    "${runs[@]}"
}

step_batch() {
  local samples calls=(--steps 10 --text 50 --warmup 60 --runs 100)
  for samples in 2 3 8; do
    measured "batch_$samples" bench --checkpoint "$checkpoint" --precision "${precisions[@]}" --batch "$samples" \
      "${calls[@]}" "${options[@]}"
    [[ " ${precisions[*]} " = *" fp8 "* ]] || continue
    measured "batch_${samples}_mixed" bench --checkpoint "$checkpoint" --precision fp8 --recipe mixed \
      --calibration "$calibration" --batch "$samples" "${calls[@]}"
  done
}

step_block() {
  local program=$build/benchmarks/ops/bench_block
  [ -z "$folder" ] || program=$folder/bin/bench_block
  "$program" --json "$parts/block.json"
}

step_trace() {
  [ -z "$folder" ] || { echo "trace needs a build: call gpu.sh without --folder" >&2; return 1; }
  scripts/build.sh "$build-trace" bench_block "${engine[@]}" -DNERVUS_TRACE=trace.jsonl
  cmake --build "$build-trace" --target bench_layers --parallel
  traced() {  # name, program and arguments
    "${@:2}"
    mv trace.jsonl "$build-trace/$1.jsonl"
    python3 benchmarks/block_trace.py "$build-trace/$1.jsonl" --json "$parts/$1.json"
  }
  local layers=$build-trace/benchmarks/cuda/bench_layers
  traced trace "$build-trace/benchmarks/ops/bench_block" --e4m3 2 --only 1 --parts 0
  traced trace_vision "$layers" 1 "vision, windows" bf16
  traced trace_prefix "$layers" 1 prefix f8_e4m3
}

step_load() {
  cat "$checkpoint"/*.safetensors >/dev/null
  measured load bench --checkpoint "$checkpoint" --precision bf16 --attention auto plain --steps 10 --warmup 1 --runs 1
}

step_peer() { python3 benchmarks/gpu_peer.py --steps 10 --json "$parts/peer.json"; }

# What `nervus run` answers, against the CPU in float32.
step_agree() {
  python3 benchmarks/random_inputs.py --checkpoint "$checkpoint" --out "$parts/observation" --count 1
  local expected=$parts/cpu_f32.safetensors
  answer() {
    "$nervus" run --checkpoint "$checkpoint" --inputs "$parts/observation/0.safetensors" --steps 10 50 \
      --device "$1" --precision "$2" --quiet --json --out "$parts/$1_$2.safetensors" >/dev/null
  }
  answer cpu f32
  echo "[" >"$parts/agree.unfinished"
  local which device_of precision found separator=
  for which in "cpu bf16" "$device f32" "$device bf16" "$device f16"; do
    read -r device_of precision <<<"$which"
    answer "$device_of" "$precision"
    echo "$which against cpu f32:"
    local tolerance=(--tolerance 1e-4)  # as nervus verify has it
    [ "$precision" = f32 ] || tolerance=(--metric cosine --tolerance 1e-3)
    found=$parts/${device_of}_$precision.safetensors
    "$nervus" compare "$found" "$expected" "${tolerance[@]}"
    {
      echo "$separator{\"device\": \"$device_of\", \"precision\": \"$precision\", \"against\": \"cpu, f32\", \"found\":"
      "$nervus" compare "$found" "$expected" "${tolerance[@]}" --json
      echo "}"
    } >>"$parts/agree.unfinished"
    separator=","
  done
  echo "]" >>"$parts/agree.unfinished"
  mv "$parts/agree.unfinished" "$parts/agree.json"
}

all=(build tests sanitize goldens synth calibrate inspect bench pixels mixed kept attention batch block load peer)
[ ${#steps[@]} -gt 0 ] || steps=("${all[@]}")
for step in "${steps[@]}"; do
  declare -F "step_$step" >/dev/null && continue
  echo "gpu: no step '$step'; the steps are: ${all[*]}, and trace and agree" >&2
  exit 2
done
failed=()
for step in "${steps[@]}"; do
  printf '\n=== %s\n' "$step"
  started=$SECONDS
  # In the background, so that `set -e` holds inside the step.
  ("step_$step" </dev/null) &
  passed=true
  wait $! || passed=false
  [ "$passed" = true ] || failed+=("$step")
  seconds=$((SECONDS - started))
  echo "{\"passed\": $passed, \"seconds\": $seconds}" >"$parts/step_$step.json"
  echo "=== $step $([ "$passed" = true ] && echo passed || echo FAILED) in $seconds s"
  # After each step, so that a lease that ends leaves what was measured.
  python3 benchmarks/gpu_results.py "$parts" "$results"
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "gpu: failed: ${failed[*]}"
  exit 1
fi
echo "gpu: all passed: ${steps[*]}; $results"
