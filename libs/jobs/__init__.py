"""Long work of a service (a backtest, a training, a what-if run) in a process of its own, so that its calls are not starved.

    store.py     the table `job`: one process does a job at a time, in steps that are kept
    holder.py    the background work of each replica: the one that holds the lease takes the oldest open job
    running.py   what a runner is given and gives back
    edge.py      what the calls that begin, tell, list and end jobs do alike
    __main__.py  the process that a job runs in
    room.py      how much memory it may have

A service numbers its kinds in an IntEnum and tells them, with the runner of each as "module:function" and its metrics, in a
`holder.JobWork`. The module of a runner is imported in the job's process alone, so it may be heavy. It belongs under
`services/<name>/jobs`, since it reads the store; what it computes stands in a subject module. A runner looks like this:

    async def run(running: Running) -> Finished:
        request = TrainingRequest.FromString(running.job.request)
        state = State.from_bytes(running.job.progress) if running.job.progress else State.begin()
        for part in parts[state.next_part:]:
            state = work(state, part)                       # computing without await is right here: the process is his own
            await running.step(state.to_bytes(), done, total)   # kept: who is killed goes on from here
        return Finished(answer.SerializeToString(), also=lambda tx: models.add(tx, …))   # in the transaction that ends it

`step` raises JobLost where the job was cancelled or taken over: let it pass. A mistake of the request that no further
attempt can mend is raised as JobRefused, whose text the asker reads; whatever else is raised counts as a try, of which a job
has three between two steps. A runner that begins anew each time tells how far it is with `tell`, which is no step. To start
a job: `Jobs.add` in the transaction of the call, with the request as bytes.
"""
