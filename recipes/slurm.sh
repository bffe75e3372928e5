#!/usr/bin/env bash
# A pre-training run on several nodes of a Slurm cluster, a process for each GPU:
#   sbatch recipes/slurm.sh runs/gpt1 --data SHARDS --device cuda --precision bf16 --batch-size 64
# 120 seconds before its time is over, or when it is preempted, every process gets SIGTERM; the run
# saves its state and ends with 0, the job is queued again, and goes on from there.
#SBATCH --job-name=gpt1
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

out=${1:?usage: sbatch recipes/slurm.sh OUT FLAGS_OF_A_NEW_RUN...}
shift
if [[ -f $out/run.yaml ]]; then
    flags=(--out "$out" --resume)
else
    flags=(--out "$out" "$@")
fi

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
export MASTER_ADDR MASTER_PORT=29500 WORLD_SIZE=$SLURM_NTASKS OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# Without torchrun in between, the signal reaches gpt1 itself, and nobody cuts its saving short.
srun --kill-on-bad-exit=1 \
    bash -c 'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID exec gpt1 pretrain "$@"' gpt1 "${flags[@]}"

# A complete run has a model card. A run that failed is not queued again: srun has ended this script.
if [[ ! -f $out/README.md ]]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
