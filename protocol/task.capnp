@0xe3a47b5d90c61f2b;
# What several conversations share: tasks, functions and results.
#
# COLUMNS. Hot messages carry many tasks as columns, not as a list of structs. A column of integers is a `Data` field
# that holds packed little-endian numbers without padding; the comment says how wide ("u64 column"). All columns of one
# message that speak of the same tasks have the same number of entries, in the same order. Where the comment allows it,
# an *empty* column means the stated default for all, and a column of *one* entry in a message of several tasks means the
# same value for all. Any other length is an error that closes the connection.
#
# IDS. A client numbers its tasks (`sequence`, u64 below 2^39) and its functions (u32) itself, rising from 0 and never
# used again while it lives. The scheduler gives each client a number (below 2^24) and calls a task by its *task id*,
# clientNumber * 2^40 + sequence. Workers see task ids only.
#
# ARRAYS. A *task array* is many *items*: calls of one function, submitted as one. An item has a sequence, as a task has. The
# scheduler gives workers *ranges*: items that follow each other, run in order by one executor. A range is a task with an id
# of its own, which the scheduler mints: clientNumber * 2^40 + 2^39 + a counter. All that is said of tasks holds for ranges.
#
# ATTEMPTS. Each time a task is given to a worker its attempt number rises by one. Whatever a worker says about a task
# names id and attempt; what is said of an attempt that is not the present one is counted and dropped.

struct Function {
  # What tasks call. Defined before the first task that names it, on the same connection.
  number @0 :UInt32;
  # From a client: minted by it. To a worker or executor: minted by the scheduler, over all clients.
  serializer @1 :Text;
  # How the function, the arguments and the results are written (README.md): "msgpack" or "json" (any language: functions by
  # name), "cloudpickle" (Python: pickle protocol 5, functions by cloudpickle), or the name of a serializer that client and
  # executor agree on. Opaque to everyone else.
  content @2 :Data;
  # The serialized function, when `object` is empty.
  object @3 :Data;
  # Object id of the serialized function in the object storage, when it is larger than Settings.inlineLimitBytes.
  name @4 :Text;
  # For people: log lines, monitors, errors.
  owner @5 :Data;
  # To workers and executors: the identity of the client, which owns the objects its tasks make. Empty from a client.
  streamsOutput @6 :Bool;
  # What its tasks print goes to the client as `TaskOutput`, instead of where the worker prints.
  takesPlaces @7 :Bool;
  # The client reads results where they are: the payload of a `stored` one may go on behind its 24 bytes, see there.
}

struct TaskOutput {
  # What tasks of one client have printed, as whole lines where they come in time. From worker to scheduler to client, before
  # the results of these tasks. Nothing is answered; it is lost where there is no such client any more.
  client @0 :Data;
  # Its identity. Empty to the client itself.
  toStandardError @1 :Bool;
  content @2 :Data;
  # As it was printed, at most 64 KiB. No character of UTF-8 is cut in two.
}

struct TaskOptions {
  # What a client may ask for a task.
  capabilities @0 :List(Text);
  # The task runs only on a worker that offers all of these.
  priority @1 :Int32;
  # Greater goes first. Tasks of equal priority go in the order they came, those submitted inside other tasks before those
  # around them (client.capnp, RunningInside). Less than -2^24 counts as -2^24, more than 2^24 - 1 as that.
  retries @2 :UInt32;
  # How often a task that failed by an error of its own is run again before the error is delivered.
  timeoutMilliseconds @3 :UInt64;
  # A task that runs longer is stopped (its executor is replaced) and ends as `timedOut`. 0: no limit.
  name @4 :Text;
  # For people. Empty: the name of the function.
  retryOn @5 :List(Text);
  # Only errors of these types count for `retries`: qualified names, one of which is `typeName` or in `types` of the Failure.
  # Empty: all errors.
  traceContext @6 :Text;
  # The span in which the task was submitted, for the executor, which makes the task's span a child of it: header fields as the
  # W3C has them (traceparent, tracestate, baggage), `name: value`, a line each, at most 8192 characters. Empty: not traced.
}

enum ResultStatus {
  # How a task ended, and with that what stands in its payload. One byte in a status column.
  unspecified @0;
  # Never sent.
  succeeded @1;
  # Payload: the result, written by the task's serializer.
  stored @2;
  # As succeeded, but the result is in the object storage. Payload: 16 bytes object id, then u64 size in bytes. If the function
  # `takesPlaces`, there may follow, to the end, a Mapped of storage.capnp (a message without a frame, its request 0): where the
  # executor has the result in shared memory. It may be read there instead of asking the storage for it, as long as that
  # can be opened; it is in the storage anyway, and has to be released there.
  failed @3;
  # The task raised. Payload: one Failure message (a Cap'n Proto message in the standard stream encoding).
  cancelled @4;
  # By its client. Payload empty.
  crashed @5;
  # It was running in too many deaths of executors or workers. Payload: UTF-8 text that tells how each one happened.
  timedOut @6;
  # It ran longer than it may. Payload: UTF-8 text; from a worker without its subject, which is the name of the task.
  rejected @7;
  # The scheduler did not take it: its queue is full. Payload: UTF-8 text.
  lost @8;
  # What it needs is gone: an unknown dependency or function. Payload: UTF-8 text.
  outOfMemory @9;
  # It took more memory than an executor may have. Payload: UTF-8 text; from a worker without its subject.
  objectLost @10;
  # Objects that it takes are not in the object storage any more. From a worker: it has not begun. Payload, for each object: u32
  # position of the input that it is, 2^32 - 1 for one that the client put; then 16 bytes object id. The scheduler has them made
  # or put again, and the task run again. To a client: that cannot be. Payload: UTF-8 text.
}

struct Failure {
  # The payload of a `failed` result.
  typeName @0 :Text;
  # Qualified name of the exception's type, "builtins.ValueError".
  message @1 :Text;
  # str() of the exception.
  traceback @2 :Text;
  # As the language prints it, several lines.
  exception @3 :Data;
  # The exception itself, written by the task's serializer. Empty when it cannot be written, and always with "msgpack" and
  # "json".
  types @4 :List(Text);
  # Qualified names of all types that the exception is an instance of. May be empty where a language has no such thing.
}

struct Results {
  # Tasks that ended, one entry each; and items of arrays that ended, one entry for one or many that follow each other and
  # ended alike. The entries of a range come in the order of its items, in one message or several, so that each begins where
  # the one before ended.
  tasks @0 :Data;
  # u64 column. To a client: sequences, of an entry of several items that of the first. From a worker: task ids, the range's
  # for items. From an executor: positions, the range's for items.
  attempts @1 :Data;
  # u32 column, from a worker. Empty elsewhere.
  statuses @2 :Data;
  # u8 column of ResultStatus.
  payloads @3 :List(Data);
  wallMicroseconds @4 :Data;
  # u64 column: time between begin and end of the call in its executor; 0 for a task that never began. Of items: together.
  cpuMicroseconds @5 :Data;
  # u64 column: processor time of that call, all threads of the executor.
  peakMemoryBytes @6 :Data;
  # u64 column: the largest resident size of the executor seen up to the end of the call.
  counts @7 :Data;
  # u32 column: how many items an entry speaks of. Empty: 1 for all.
  itemEnds @8 :List(Data);
  # An entry for each task: empty for one item or none with a result; else a u32 column of where the result of each item
  # ends in the payload, which holds them one after the other. Empty list: no entry has several results.
  slots @9 :Data;
  # u32 column, from a worker, for monitors: the slot of the executor that ran it, 2^32 - 1 for none. Empty: not known.
  retried @10 :Data;
  # u32 column, to a client: how often it was run again, after an error of its own or a death of its executor or worker.
  # Empty: never, for all.
}

struct Inputs {
  # Results of other tasks that tasks of this message take as input, in the order in which the task named its
  # dependencies.
  ends @0 :Data;
  # u32 column, an entry for each task: where its inputs end in the columns below. It begins where the one before ends.
  # Empty: no task has inputs.
  statuses @1 :Data;
  # u8 column, an entry for each input: succeeded or stored.
  payloads @2 :List(Data);
}
