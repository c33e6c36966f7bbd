@0xf84b2c9d6a70e315;
# Between a worker and its own children on one host: the fork server and the executors. Frames as everywhere, over Unix
# socket pairs, without a handshake: both ends are of one version and one process tree. Not for other languages.
#
# Fork server: one for each worker, without threads, forks an executor on demand. Executor: one for each slot, runs tasks
# and nothing else.
#
# Positions: the worker numbers the tasks it sends to an executor 0, 1, 2, … Both share a page (scaler/_core/claims) in which
# each position is either taken by the executor or revoked by the worker, so tasks that wait behind a long one can be
# given to another executor while this one is busy.

using Profile = import "profile.capnp";
using Task = import "task.capnp";

struct WorkerToForkServer {
  union {
    unspecified @0 :Void;
    fork @1 :ForkExecutor;
  }
}

struct ForkServerToWorker {
  union {
    unspecified @0 :Void;
    ready @1 :ForkServerReady;
    forked @2 :ExecutorForked;
    exited @3 :ExecutorExited;
  }
}

struct ForkServerReady {
  # Sent once, when executors can be forked.
  error @0 :Text;
  # Empty, or why the fork server cannot work; it ends next.
}

struct ForkExecutor {
  # With it travel four descriptors (SCM_RIGHTS): the executor's socket, the claims page, its standard output, its
  # standard error.
  executor @0 :UInt32;
  # Minted by the worker, never used again.
}

struct ExecutorForked {
  # The executor exists; it reads its socket from here on.
  executor @0 :UInt32;
  pid @1 :UInt32;
}

struct ExecutorExited {
  # The executor is gone, and has been waited for.
  executor @0 :UInt32;
  exitCode @1 :Int32;
  # 0 or greater as the process ended itself; -signal when a signal ended it.
}

struct WorkerToExecutor {
  union {
    unspecified @0 :Void;
    settings @1 :ExecutorSettings;
    define @2 :DefineForExecutor;
    forget @3 :ForgetForExecutor;
    run @4 :RunTasks;
    tidy @5 :Tidy;
    sample @6 :Profile.BeginSampling;
    stopSampling @7 :Profile.EndSampling;
    # A signal (SIGURG) follows both: an executor that runs a task reads them in the middle of it.
  }
}

struct ExecutorToWorker {
  union {
    unspecified @0 :Void;
    results @1 :Task.Results;
    preloaded @2 :Preloaded;
    samples @3 :Profile.StackSamples;
  }
}

struct Preloaded {
  # Sent once, before all else, where the worker was told of a preload: a call that each executor makes before its first task.
  # Tasks are given to the executor after it.
  error @0 :Text;
  # Empty, or the traceback of a preload that raised; the executor waits to be ended.
}

struct ExecutorSettings {
  # Sent first, and again when something changed.
  objectStorageAddress @0 :Text;
  schedulerAddress @1 :Text;
  # What a client inside a task connects to.
  inlineLimitBytes @2 :UInt64;
  worker @3 :Data;
  # The worker's identity, for ClientToScheduler.runningInside.
}

struct DefineForExecutor {
  # Functions that tasks for this executor will name.
  functions @0 :List(Task.Function);
}

struct ForgetForExecutor {
  # No task will name these functions any more.
  numbers @0 :Data;
  # u32 column.
}

struct RunTasks {
  # Tasks to run in this order, as long as they are not revoked.
  firstPosition @0 :UInt64;
  # Of the first task; the others follow by one.
  functions @1 :Data;
  # u32 column; one entry: the same for all.
  payloads @2 :List(Data);
  inputs @3 :Task.Inputs;
  itemEnds @4 :List(Data);
  # As in the worker's Assign. A range has one position. Each of its items is taken on the page before it runs, so that the
  # worker can trim what has not begun off the range that runs.
  tasks @5 :Data;
  # u64 column of task ids, for clients that run inside these tasks.
  traceContexts @6 :List(Text);
  # As in the worker's Assign.
  attempts @7 :Data;
  # u32 column, for the same clients. Empty: 1 for all.
}

struct Tidy {
  # Collect garbage, after the tasks that were sent before.
  trim @0 :Bool;
  # Also give free memory back to the operating system.
}
