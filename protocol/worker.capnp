@0xa9e1d6527cb40f83;
# Between a worker (dialer) and a scheduler (listener).
#
# A worker is one process on a host, with `slots` executors that run one task each at a time. It sends `register` first;
# the scheduler answers with `settings` and from then on gives it tasks.
#
# Loss: when the connection breaks, the scheduler gives the worker's tasks to others at once. The worker goes on with what runs,
# forgets what has not begun, and dials again until its own death timeout ends it. When it reaches the same scheduler (by the
# identity in its Welcome), it stops what it runs and comes back as if it were new. When it reaches another one, that one knows
# nothing yet: the worker says in `survived` what it has, and clients offer their tasks again.

using Profile = import "profile.capnp";
using Task = import "task.capnp";

struct WorkerToScheduler {
  union {
    unspecified @0 :Void;
    # Never sent; closes the connection.
    register @1 :RegisterWorker;
    heartbeat @2 :WorkerHeartbeat;
    started @3 :Started;
    results @4 :Task.Results;
    retracted @5 :Retracted;
    deaths @6 :ExecutorDeaths;
    leaving @7 :WorkerLeaving;
    trimmed @8 :Trimmed;
    output @9 :Task.TaskOutput;
    survived @10 :Survived;
    samples @11 :Profile.StackSamples;
  }
}

struct SchedulerToWorker {
  union {
    unspecified @0 :Void;
    settings @1 :WorkerSettings;
    define @2 :DefineForWorker;
    forget @3 :ForgetForWorker;
    assign @4 :Assign;
    retract @5 :Retract;
    cancel @6 :CancelAssigned;
    drain @7 :Drain;
    shutdown @8 :ShutdownWorker;
    heartbeat @9 :WorkerHeartbeatEcho;
    lend @10 :LendSlots;
    sample @11 :Profile.BeginSampling;
    stopSampling @12 :Profile.EndSampling;
  }
}

struct RegisterWorker {
  # Sent once, first: what this worker is.
  slots @0 :UInt32;
  # How many tasks run at once, those that lend their slots (LendSlots) not counted; at least 1.
  queueLimit @1 :UInt32;
  # How many tasks may wait in the worker beyond its slots.
  capabilities @2 :List(Text);
  # What this worker offers, for TaskOptions.capabilities.
  host @3 :Text;
  pid @4 :UInt32;
  managerName @5 :Text;
  # The worker manager that started it; empty if none did.
  objectStorageAddress @6 :Text;
  # Of the object storage of its own host, where its tasks put their results. Empty: they are put into the scheduler's.
  workerName @7 :Text;
  # What its manager calls it, unique among the workers of that manager; empty if none started it.
  survivors @8 :UInt32;
  # How many entries Survived messages will bring, which follow at once.
}

struct Survived {
  # What a worker has that was at another scheduler before: tasks that run, and results that may not have reached their clients. The
  # scheduler answers nothing. When the client of a task offers it again, a result is passed on, and a task that runs is
  # assigned to this worker as it is, under the same id and attempt. What nobody asks for is cancelled.
  results @0 :Task.Results;
  # One entry each, with the status `unspecified` for what still runs. Ids are as before: every scheduler makes the same number from
  # a client's identity (ClientSettings.clientNumber), and none mints an id for a range that one before it may have minted.
  owners @1 :List(Data);
  # Identities of clients.
  ownerOf @2 :Data;
  # u32 column: which of the owners each entry belongs to.
  sequences @3 :Data;
  # u64 column: the client's sequence of the task, or of the first item.
}

struct WorkerSettings {
  # Sent once, as the answer to RegisterWorker.
  objectStorageAddress @0 :Text;
  inlineLimitBytes @1 :UInt64;
  # Results larger than this go to the object storage.
  timeoutMilliseconds @2 :UInt64;
  # A worker silent for this long is taken for dead.
}

struct WorkerHeartbeat {
  # Sent every heartbeat interval; answered by an echo.
  sentMicroseconds @0 :UInt64;
  cpuPercent @1 :Float32;
  # Of the worker's processes together: 100 is one core.
  residentBytes @2 :UInt64;
  # Of the worker's processes together.
  hostFreeBytes @3 :UInt64;
  queued @4 :UInt32;
  # Tasks that no executor has begun.
  running @5 :UInt32;
  roundTripMicroseconds @6 :UInt64;
  # From the echo before this one; 0 at first.
  executors @7 :List(ExecutorFacts);
  # All of them, by slot.
}

enum ExecutorState {
  # What an executor does.
  unspecified @0;
  starting @1;
  # It cannot have tasks yet.
  idle @2;
  running @3;
  ending @4;
  # It is being stopped, for the sake of its task or because it is not needed.
}

struct ExecutorFacts {
  # One executor of a worker, for monitors.
  slot @0 :UInt32;
  # From 0, below RegisterWorker.slots unless slots are lent. One that replaces another has its slot.
  pid @1 :UInt32;
  # 0 before it has started.
  state @2 :ExecutorState;
  task @3 :UInt64;
  # Id of the task or range that runs; 0 for none.
  functionName @4 :Text;
  # Of that task.
  runningMicroseconds @5 :UInt64;
  # For how long it has run; of a range since its present item began.
  queued @6 :UInt32;
  # Tasks that it has ahead of time.
  cpuPercent @7 :Float32;
  # Since the heartbeat before.
  residentBytes @8 :UInt64;
}

struct WorkerHeartbeatEcho {
  # The answer to WorkerHeartbeat.
  sentMicroseconds @0 :UInt64;
  againMilliseconds @1 :UInt32;
  # Somebody looks: the next heartbeat should come after this time, if that is sooner. 0: no hurry.
}

struct DefineForWorker {
  # Functions that tasks for this worker will name.
  functions @0 :List(Task.Function);
  # Sent before the first Assign that names them.
}

struct ForgetForWorker {
  # No task will name these functions any more.
  numbers @0 :Data;
  # u32 column.
}

struct Assign {
  # Tasks to run, in this order.
  tasks @0 :Data;
  # u64 column of task ids.
  attempts @1 :Data;
  # u32 column.
  functions @2 :Data;
  # u32 column; one entry: the same for all.
  payloads @3 :List(Data);
  timeoutMilliseconds @4 :Data;
  # u64 column, 0: no limit. Empty: no limit for any.
  inputs @5 :Task.Inputs;
  itemEnds @6 :List(Data);
  # An entry for each task: empty for a single one; for a range a u32 column of where each item ends in the payload, which
  # holds the arguments of all items one after the other. Empty list: no ranges.
  sequences @7 :Data;
  # u64 column: the sequence of the first item of each range, also one of a single item; 0 for other tasks. Empty: no ranges.
  traceContexts @8 :List(Text);
  # An entry for each task: TaskOptions.traceContext. Empty list: none is traced.
}

struct LendSlots {
  # These tasks, which the worker runs, wait for others that they submitted: for each of them the worker runs one task more than
  # its slots, and lets none wait behind it in the same executor. Replaces what was said before; sent when it has changed, before
  # the tasks that need the slots. A task that ends lends nothing any more, whether that was said or not.
  tasks @0 :Data;
  # u64 column of task ids.
}

struct Started {
  # These tasks have run for a while (10 ms or more) and still do. Short tasks are never reported, so that they cost
  # nothing; a task reported here that is running when its worker dies counts that death against itself.
  tasks @0 :Data;
  # u64 column.
  attempts @1 :Data;
  # u32 column.
}

struct Retract {
  # Give these tasks back if they have not begun. Each is answered in one Retracted message, or has ended before.
  tasks @0 :Data;
  # u64 column.
  attempts @1 :Data;
  # u32 column.
}

struct Retracted {
  # The answer to Retract.
  returned @0 :Data;
  # u64 column: these never began and are forgotten by the worker.
  returnedAttempts @1 :Data;
  # u32 column.
  kept @2 :Data;
  # u64 column: these have begun, and end in Results as usual.
  keptAttempts @3 :Data;
  # u32 column.
}

struct Trimmed {
  # These ranges take longer than they should: the worker will not begin their last items, which the scheduler may give to
  # others. Sent unasked.
  tasks @0 :Data;
  # u64 column.
  attempts @1 :Data;
  # u32 column.
  kept @2 :Data;
  # u32 column: how many items, from the beginning of the range as it was assigned, have begun or ended here.
}

struct CancelAssigned {
  # Forget these tasks; stop the executor of one that runs. Not answered: the scheduler has forgotten them already.
  tasks @0 :Data;
  # u64 column.
  attempts @1 :Data;
  # u32 column.
}

struct ExecutorDeaths {
  # These tasks were in executors that died. The scheduler runs them again, here or elsewhere, or ends them as `crashed`.
  tasks @0 :Data;
  # u64 column.
  attempts @1 :Data;
  # u32 column.
  stories @2 :List(Text);
  # How each happened, for people: signal or exit code, memory, the last lines of standard error.
  items @3 :Data;
  # u32 column: of a range the item that was running, counted from the beginning of the range as it was assigned. It alone has
  # died; all items without a result are run again. Empty: 0 for all.
  statuses @4 :Data;
  # u8 column of ResultStatus: `crashed`; or `timedOut` or `outOfMemory` for an item of a range that was stopped for it and ends so, with the
  # story as its text; or `unspecified` for a task, or what is left of a range, that was not running: it is run again, and this counts no
  # death. Empty: all crashed.
}

struct Drain {
  # Take nothing new, finish what has been given, then send WorkerLeaving and end. Sent to a worker that is asked to leave, when
  # it holds no task any more and nothing is left of what its tasks have submitted. Before that the scheduler gave it nothing,
  # and asked by Retract for all that it had not begun.
}

struct WorkerLeaving {
  # The worker ends, and closes next. It holds no task, or was told to end at once: others get what it held.
  graceMilliseconds @0 :UInt64;
  # Of a worker whose machine is to be taken away: it has to end within this time, and the scheduler asks it to leave. A message
  # without it follows. 0: it ends now.
}

struct ShutdownWorker {
  # End now; tasks that run are stopped.
  text @0 :Text;
}
