@0xd5f0c47e1b38a96d;
# Between a client (dialer) and a scheduler (listener).
#
# The scheduler sends `settings` first. The client then defines functions and submits tasks, in any number, without
# waiting. Each task submitted ends in exactly one entry of a `results` message, except those not `wanted`.
#
# Order: a connection keeps it. A function is defined before a task names it, a dependency submitted before its dependent
# (in the same Submit is early enough, also after it). Results come in the order in which tasks end.
#
# Loss: when the connection breaks, the scheduler keeps what the client asked for, and the results, for its client
# timeout. A client that comes back with the same identity defines its functions and submits all its unfinished tasks
# again, under the same numbers; the scheduler passes over those it still knows. So execution is at least once, and a
# client that ignores a second result for a sequence has delivery exactly once. When it reaches another scheduler (by the identity
# in its Welcome), it says `resuming` before that, so that what workers still run or have ended is not run again.

using Monitor = import "monitor.capnp";
using Task = import "task.capnp";

struct ClientToScheduler {
  union {
    unspecified @0 :Void;
    # Never sent; closes the connection.
    define @1 :DefineFunctions;
    forget @2 :ForgetFunctions;
    submit @3 :Submit;
    cancel @4 :Cancel;
    clear @5 :ClearTasks;
    heartbeat @6 :ClientHeartbeat;
    goodbye @7 :ClientGoodbye;
    shutdown @8 :ShutdownCluster;
    submitArray @9 :SubmitArray;
    runningInside @10 :RunningInside;
    restored @11 :Restored;
    explain @12 :Monitor.ExplainTask;
    # Of a task of this client. Answered by `explanation`, unless the connection breaks before: then it may be asked again.
    resuming @13 :Resuming;
    allOffered @14 :AllOffered;
    recover @15 :Recover;
    # This one and the next two only to a scheduler with a journal: ClientSettings.keptSeconds is not 0.
    awaiting @16 :Awaiting;
    collected @17 :Collected;
  }
}

struct SchedulerToClient {
  union {
    unspecified @0 :Void;
    settings @1 :ClientSettings;
    results @2 :Task.Results;
    heartbeat @3 :HeartbeatEcho;
    shutdownRefused @4 :ShutdownRefused;
    ending @5 :ClusterEnding;
    output @6 :Task.TaskOutput;
    restore @7 :Restore;
    explanation @8 :Monitor.Explanation;
    recovered @9 :Recovered;
  }
}

struct DefineFunctions {
  # Functions that tasks of this client will name.
  functions @0 :List(Task.Function);
  # A number that is defined already is an error.
}

struct ForgetFunctions {
  # The client will not name these functions again. Unfinished tasks that name them still run.
  numbers @0 :Data;
  # u32 column.
}

struct Submit {
  # One or many tasks.
  sequences @0 :Data;
  # u64 column: minted by the client. A sequence that the scheduler knows already is passed over.
  functions @1 :Data;
  # u32 column of function numbers; one entry: the same for all.
  payloads @2 :List(Data);
  # The arguments of each task, written by the function's serializer. A frame has a size limit (README.md): what is larger
  # than ClientSettings.inlineLimitBytes belongs into the object storage, and its reference here; how such a reference
  # looks is part of the serializer.
  optionSets @3 :List(Task.TaskOptions);
  # The different options of this message.
  options @4 :Data;
  # u32 column: which option set each task has; one entry: the same for all. Empty: no options.
  dependencyEnds @5 :Data;
  # u32 column: where each task's dependencies end in the next column. Empty: no task has any.
  dependencies @6 :Data;
  # u64 column: sequences of tasks of this client whose results the task takes as input. A task starts when all of them
  # succeeded, and ends as one of them did when that one did not. One that is unknown ends the task as `lost`.
  wanted @7 :Data;
  # u8 column: 1 where the client wants the result, 0 where only dependents do; such a result is dropped when the last
  # dependent submitted so far has ended. Empty: all wanted.
  more @8 :Bool;
  # What depends on tasks of this message may follow in the next Submit: none of them begins before one without `more` has
  # come, lest results be dropped that are still needed. When a part is rejected, so are those after it.
}

struct SubmitArray {
  # A task array: the same function for many items, as one entry. The scheduler cuts off ranges of items for workers, in
  # the order of the items, as large as their measured time suggests. To the client an item is like a task: it has a
  # sequence, ends in exactly one result, and may be offered again. Nothing can depend on an item.
  firstSequence @0 :UInt64;
  # Of the first item; the others follow by one. Items whose sequences the scheduler knows already are passed over.
  function @1 :UInt32;
  items @2 :Data;
  # The arguments of all items, one after the other, each as in Submit.payloads.
  itemEnds @3 :Data;
  # u32 column: where each item ends in `items`. At least one entry.
  options @4 :Task.TaskOptions;
  # For each item: an item that fails is retried alone.
}

struct RunningInside {
  # What this client submits from now on, it submits inside a running task, the *parent*. Sent before the first submission
  # inside each task, and again, first of all, on a new connection. While a parent has unfinished *children* it lends its slot:
  # its worker runs one task more. Children go before tasks of less depth of the same priority (TaskOptions.priority).
  #
  # When the parent is stopped (cancelled, timed out) or dies, its children are cancelled, and so are theirs. When it ends in
  # any other way they go on.
  task @0 :UInt64;
  # Task id of the parent, of an item that of its range.
  firstSequence @1 :UInt64;
  # The children are the tasks and items with this sequence and the ones after it.
  worker @2 :Data;
  # Identity of the worker that runs the parent. When it does not hold that task, at this scheduler, the message says that the
  # client is inside no task from now on.
  attempt @3 :UInt32;
  # Of the parent. When another one runs, the message says the same. 0: not known.
}

struct Resuming {
  # First of all on a connection to another scheduler than before: tasks that follow were accepted by one that is gone. Workers that
  # were there may still run them. So the scheduler reads on, and does what it has read when `allOffered` has come and these workers
  # are there, or a second later.
  slots @0 :UInt32;
  # Of all workers together, as the scheduler before told last; 0: not known.
}

struct AllOffered {
  # After `resuming`: all tasks that the client had are offered again.
}

struct Recover {
  # Asks for the work of clients of the same name (Hello.name) that are gone: answered by `recovered`. Sent again on a new connection
  # as long as that has not come. Only by a client that has a name.
}

struct Recovered {
  # The answer to Recover, in one message or several. What it names is the asker's for the client timeout: nobody else is told of it
  # meanwhile.
  clients @0 :List(RecoveredClient);
  more @1 :Bool;
  # Another one follows, which may go on with the last of these clients.
}

struct RecoveredClient {
  # A client that is gone, and what it has not collected. Whoever wants that connects with its identity, says `awaiting`, and has taken
  # its place: it may cancel, it collects, and its `goodbye` ends what is left.
  identity @0 :Data;
  # 16 bytes.
  nextSequence @1 :UInt64;
  # From which on sequences are free.
  sequences @2 :Data;
  # u64 column: tasks, and of items that follow each other the first.
  counts @3 :Data;
  # u32 column: how many items. Empty: 1 for all.
  names @4 :List(Text);
  # What they were called in TaskOptions.name, an entry for each. Empty: none was called anything.
  serializers @5 :List(Text);
  # Function.serializer for each: how its result is written. Empty: as the client has it, for all.
}

struct Awaiting {
  # Instead of offering them again, which only the client could that submitted them: these tasks are wanted. Each is answered by its
  # result, now or when it ends, and by `lost` if the scheduler does not know it.
  sequences @0 :Data;
  # u64 column.
}

struct Collected {
  # A client with a name has used these results, or does not want them any more: they are not kept for it longer. Sent before a
  # heartbeat, and again on a new connection unless that one was answered.
  sequences @0 :Data;
  # u64 column.
  counts @1 :Data;
  # u32 column: so many items from the sequence above. Empty: 1 for all.
}

struct Cancel {
  # Tasks that are not to run, or to be stopped. Each wanted one that had not ended comes back as `cancelled`. What
  # depends on them ends as `cancelled` too. Unknown and ended ones are passed over.
  sequences @0 :Data;
  # u64 column.
  counts @1 :Data;
  # u32 column: so many sequences from the one above. Empty: 1 for all. Of an array, those ranges are cancelled whose items
  # are all named; an item that is under way together with others that are to go on ends as usual.
}

struct ClearTasks {
  # Cancel all unfinished tasks of this client.
}

struct Restore {
  # Tasks take these objects, and the object storage has lost them: put them again. Answered by `restored` for each. Sent again on
  # a new connection as long as that has not come.
  objects @0 :Data;
  # 16-byte ids, one after the other.
}

struct Restored {
  # The answer to Restore, for some of the objects it named.
  objects @0 :Data;
  # 16-byte ids, one after the other.
  failures @1 :List(Text);
  # An entry for each: empty for one that is in the object storage again, else why it cannot be. Tasks that need it end as
  # `objectLost`.
}

struct ClientHeartbeat {
  # Sent every ClientSettings.heartbeatMilliseconds. Each is answered by HeartbeatEcho.
  sentMicroseconds @0 :UInt64;
  # The sender's clock, any origin; comes back in the echo.
}

struct HeartbeatEcho {
  # The answer to ClientHeartbeat.
  sentMicroseconds @0 :UInt64;
  slots @1 :UInt32;
  # Of all workers together: how much runs at once.
}

struct ClientGoodbye {
  # The client leaves for good: its tasks are cancelled and its objects freed at once, with a journal, too. It closes next.
}

struct ShutdownCluster {
  # Stop all workers and the scheduler. A protected scheduler answers ShutdownRefused.
}

struct ShutdownRefused {
  # The answer to ShutdownCluster by a scheduler that is protected.
  text @0 :Text;
}

struct ClusterEnding {
  # The scheduler stops; nothing more is answered. Sent to clients, just before it closes.
  text @0 :Text;
}

struct ClientSettings {
  # Sent once, first.
  clientNumber @0 :UInt32;
  # From 1 to 2^24 - 1, valid as long as the scheduler knows the client. Made from its identity: the first three bytes, little-endian,
  # modulo 2^24 - 1, plus 1; or the next one that is free. So another scheduler very likely knows it by the same number.
  objectStorageAddress @1 :Text;
  # Where to put and get objects: "tcp://host:port".
  inlineLimitBytes @2 :UInt64;
  # Payloads larger than this go through the object storage.
  heartbeatMilliseconds @3 :UInt64;
  timeoutMilliseconds @4 :UInt64;
  # A client silent, or gone, for this long is forgotten with all it has.
  resumed @5 :Bool;
  # Whether the scheduler still knew this client.
  slots @6 :UInt32;
  # Of all workers together, now.
  workerSoftware @7 :List(Text);
  # What workers here said in Hello.software, each text once, sixteen of them at most.
  keptSeconds @8 :UInt64;
  # The scheduler has a journal, and keeps the work of a client with a name for so long after it is gone, timeoutMilliseconds
  # notwithstanding. 0: it has none.
}
