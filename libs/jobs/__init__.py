"""Long work of a service (a backtest, a training, a what-if run) in a process of its own, so that it does not delay the service's calls.

    store.py     the table `job`: one process runs a job at a time, in committed steps
    holder.py    the background work of each replica: the replica with the lease runs the oldest open job
    running.py   the interface of a runner
    period.py    the loop of a runner that reads stored assessments
    days.py      the days in the messages about jobs
    service.py   the gRPC service of jobs, and the start of a job
    __main__.py  the process that a job runs in

A service numbers its kinds in an IntEnum. A `holder.JobWork` names the runner of each kind as "module:function" and the metrics; a
`service.JobType` names the kind in the contract. Only the job's process imports the module of a runner, so it may be heavy. It belongs under
`services/<name>/jobs`, since it reads the store; the computation stands in a subject. A runner looks like this:

    async def run(running: Running) -> Finished:
        request = StartTrainingRequest.FromString(running.job.request)
        state = State.from_bytes(running.job.progress) if running.job.progress else State.begin()
        for part in parts[state.next_part:]:
            state = work(state, part)                       # no await needed: the process has no other work
            await running.step(state.to_bytes(), done, total)   # committed: the next process continues from here
        return Finished(answer.SerializeToString(), further_writes=lambda tx: models.add(tx, …))   # in the transaction that ends it

`step` raises JobLost if the job was cancelled or taken over; the runner lets it pass. An error in the request that no further attempt can correct
is raised as JobRefused, with a text for the caller. Any other exception counts as a try; a job has three between two steps. A runner that cannot
continue reports its counts with `count`, which is no step. `JobService.start` adds a job in the transaction of the call.
"""
