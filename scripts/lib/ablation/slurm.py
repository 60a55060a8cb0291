"""The study as a Slurm array: one task a run. A finished run ends at once, a killed one goes on."""

import os
import shlex

TEMPLATE = """\
#!/usr/bin/env bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}%{jobs}
#SBATCH --nodes=1
#SBATCH --ntasks={ranks}
#SBATCH --cpus-per-task={threads}
#SBATCH --time={time}
#SBATCH --signal=B:USR1@120
#SBATCH --output={directory}/slurm-%A-%a.log
# {question}
# USR1 two minutes before the time is up: dsmoe saves; submit the script again to go on.
cd {cwd}
case $SLURM_ARRAY_TASK_ID in
{cases}
  *) echo "no run $SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;
esac
"""
CASE = "  {index}) mkdir -p {folder} && exec {command} >>{folder}/stdout.log 2>&1 ;;"


def limit(seconds):
    """Twice the estimate as H:MM:SS, a day where nothing is known."""
    minutes = 24 * 60 if seconds is None else max(10, round(2 * seconds / 60))
    return f"{minutes // 60}:{minutes % 60:02}:00"


def script(study, runs, jobs, seconds):
    cases = [CASE.format(index=index, folder=shlex.quote(str(run.folder)), command=shlex.join(run.command))
             for index, run in enumerate(runs)]
    return TEMPLATE.format(name=study.name, last=len(runs) - 1, jobs=jobs, ranks=study.ranks,
                           threads=runs[0].threads if runs[0].threads.isdigit() else 1, time=limit(seconds),
                           directory=study.directory, question=" ".join(study.question.split()),
                           cwd=shlex.quote(os.getcwd()), cases="\n".join(cases))
