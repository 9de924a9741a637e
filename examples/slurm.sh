#!/bin/bash
# A sweep as an array job of SLURM: each task of the array trains one share of it, and the last to end joins them.
#   sbatch examples/slurm.sh
# --array: how many shares. A task that is killed, or runs out of time, goes on from its last save when it is queued again.
#SBATCH --job-name=jaxgen
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --time=01:00:00
#SBATCH --requeue
set -euo pipefail

# The folder lies where all nodes see it.
srun jaxgen sweep optimizers --seeds 24 --out runs/optimizers-on-a-cluster \
  --part "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
