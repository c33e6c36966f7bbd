@0x8f51c3e9470ad6b2;
# Between a monitor (dialer) and a scheduler's monitor address (listener).
#
# The monitor sends `subscribe`. The scheduler answers with an `update` that is `full`, and then with one that tells what
# changed, every interval. A monitor that does not read misses updates and then gets a full one. Every list has a bound, so
# that an update has one, too: what does not fit is told later, or counted and left out, as the field says.
#
# The monitor may ask for something, each time with a number of its own for the answer. What changes anything is refused by a
# scheduler that is protected.

using Profile = import "profile.capnp";
using Storage = import "storage.capnp";
using Task = import "task.capnp";
using Worker = import "worker.capnp";

struct MonitorToScheduler {
  union {
    unspecified @0 :Void;
    # Never sent; closes the connection.
    subscribe @1 :Subscribe;
    cancel @2 :CancelTask;
    drain @3 :DrainWorker;
    explain @4 :ExplainTask;
    describe @5 :DescribeGraph;
    profile @6 :ProfileTasks;
    stopProfile @7 :StopProfile;
  }
}

struct SchedulerToMonitor {
  union {
    unspecified @0 :Void;
    update @1 :Update;
    answer @2 :Answer;
    explanation @3 :Explanation;
    graph @4 :GraphDescription;
    profile @5 :ProfilePart;
  }
}

struct Subscribe {
  # Sent once, first; again to change the interval.
  intervalMilliseconds @0 :UInt32;
  # How often to tell; at least 100, 0 for 1000.
}

struct CancelTask {
  # Cancel a task as its client would; of a range all items that are left. Answered by Answer.
  request @0 :UInt64;
  # Minted by the monitor, as in all that is asked here; comes back in the answer.
  task @1 :UInt64;
  # Task id, or the id of an item (clientNumber * 2^40 + sequence): then its range is cancelled.
}

struct DrainWorker {
  # Have a worker leave: it gets nothing new, and ends when it has done what it has begun. Answered by Answer.
  request @0 :UInt64;
  worker @1 :Data;
  # Identity, 16 bytes.
}

struct ExplainTask {
  # Why is a task where it is? Answered by Explanation. Clients may ask it of their own tasks (client.capnp).
  request @0 :UInt64;
  task @1 :UInt64;
  # Task id, or the id of an item.
}

struct DescribeGraph {
  # What does a graph look like now? Answered by GraphDescription.
  request @0 :UInt64;
  number @1 :UInt64;
  # GraphFacts.number.
}

struct GraphDescription {
  # The tasks of a graph that are there, in columns, an entry each: those that have not ended, and those whose results are still
  # needed. Up to 5000.
  request @0 :UInt64;
  tasks @1 :Data;
  # u64 column of task ids. Empty for a graph that is not there any more.
  functions @2 :Data;
  # u32 column: places in `functionNames`.
  functionNames @3 :List(Text);
  states @4 :Data;
  # u8 column: 1 waiting, 2 ready, 3 assigned, 4 running, 5 retracting, 6 succeeded, 7 failed, 8 cancelled.
  dependencyEnds @5 :Data;
  # u32 column: where each task's dependencies end in the next column.
  dependencies @6 :Data;
  # u32 column: places in `tasks`. Dependencies that are not there any more are left out.
  total @7 :UInt64;
  # How many tasks are there, those included that are left out above.
}

struct ProfileTasks {
  # Look at what executors do, many times a second. Answered by Answer; if that says done, by ProfileParts until one has ended
  # set. A scheduler has up to 8 profiles at a time, of up to 100 workers each.
  request @0 :UInt64;
  milliseconds @1 :UInt32;
  # For how long; 1 to 600000.
  hertz @2 :UInt32;
  # How often a second; 1 to 1000, 0 for 100.
  worker @3 :Data;
  # Identity, 16 bytes. Empty: all workers, also those that come meanwhile.
  slots @4 :Data;
  # u32 column: only these slots of that worker. Empty: all of them.
  functionName @5 :Text;
  # Only while a function of this name runs. Empty: whatever runs.
}

struct StopProfile {
  # End a profile before its time. Its last ProfilePart follows.
  request @0 :UInt64;
  # That of its ProfileTasks. One that is not known, as it has ended, is passed over.
}

struct ProfilePart {
  # What a worker has found since its last part; or that the profile has ended.
  request @0 :UInt64;
  # That of ProfileTasks.
  samples @1 :Profile.StackSamples;
  # `ended` in it is said of the worker, and `profile` and its numbers of executors mean nothing here.
  workers @2 :UInt32;
  # How many were asked so far.
  workersEnded @3 :UInt32;
  # Of these, those that have told all.
  executors @4 :UInt32;
  # Of all workers, as far as they have said.
  ended @5 :Bool;
  # No part follows.
  text @6 :Text;
  # With the last part: what is missing and why, for people, a line each. Empty: nothing is.
}

struct Answer {
  # To CancelTask, DrainWorker and ProfileTasks.
  request @0 :UInt64;
  done @1 :Bool;
  # Whether it was done; else nothing has changed.
  text @2 :Text;
  # What was done, or why not, for people.
}

struct Explanation {
  # What the scheduler knows of one task.
  request @0 :UInt64;
  task @1 :UInt64;
  # Of an item the id of the range that it is in now.
  known @2 :Bool;
  # Whether it is there. A task is forgotten when it has ended and nothing needs its result; of the last ones that failed the
  # text tells all the same.
  name @3 :Text;
  # As the client calls it, or the name of its function.
  functionName @4 :Text;
  state @5 :Text;
  # waiting (for what it depends on), ready, assigned, running, retracting, succeeded, failed, cancelled; empty if unknown.
  client @6 :Data;
  # Identity of the client that submitted it.
  worker @7 :Data;
  # Identity of the worker that has it; empty for none.
  attempt @8 :UInt32;
  # How often it was given to a worker.
  ahead @9 :UInt64;
  # Ready tasks of its client with the same needs that go before it. Those of other clients take turns with these.
  dependencies @10 :Data;
  # u64 column: the ids of the tasks that it waits for, the first 100 of them.
  blockedMilliseconds @11 :UInt64;
  # From its submission until all was there that it depends on, or until now.
  readyMilliseconds @12 :UInt64;
  # Since then until it was given to a worker for the last time, or until now.
  assignedMilliseconds @13 :UInt64;
  # Since then; 0 for one that is with no worker.
  text @14 :Text;
  # Why it is where it is, for people: several lines. The first one is the answer in one sentence.
}

struct Update {
  # What there is to see, or what changed of it.
  full @0 :Bool;
  # Forget what was told before; else new and changed things are told, and what is gone.
  unixMilliseconds @1 :UInt64;
  tasks @2 :TaskCounts;
  workers @3 :List(WorkerFacts);
  # New or changed ones; of many changed ones about 1000 at a time, in turn. All if `full`.
  removedWorkers @4 :List(Data);
  # Identities.
  clients @5 :List(ClientFacts);
  # All of them, always, up to 1000.
  managers @6 :List(ManagerFacts);
  # All of them, always.
  schedulerCpuPercent @7 :Float32;
  schedulerResidentBytes @8 :UInt64;
  objects @9 :Storage.Statistics;
  # Of the object storage server, as it said last; zeros before that. The request number means nothing.
  scheduler @10 :SchedulerFacts;
  functions @11 :List(FunctionFacts);
  # New or changed ones, by name; all if `full`. There are at most 1000: the others are counted together under one name.
  waiting @12 :List(WaitingTasks);
  # What is ready and with no worker, all of it, always, up to 100.
  graphs @13 :List(GraphFacts);
  # Those that are not finished, up to 100, and the 20 that ended last; all of them, always.
  ended @14 :EndedTasks;
  # Of the tasks that ended since the update before, or lately if `full`.
  failures @15 :List(FailedTask);
  # New ones. Of many the last 50; if `full` the last 50 that there were.
  log @16 :List(LogLine);
  # New lines of the scheduler's log. Of many the last 200; if `full` the last 200 that there were.
}

struct SchedulerFacts {
  # The process that tells all this.
  address @0 :Text;
  # Where clients and workers connect.
  host @1 :Text;
  pid @2 :UInt32;
  version @3 :Text;
  startedUnixMilliseconds @4 :UInt64;
  protected @5 :Bool;
  # It refuses what would change anything.
  lagMicroseconds @6 :UInt64;
  # How late its event loop was, at the worst moment of the last second: how long a message may have had to wait.
}

struct TaskCounts {
  # Tasks in each state now, and how many ended in each way since the start.
  waiting @0 :UInt64;
  ready @1 :UInt64;
  assigned @2 :UInt64;
  running @3 :UInt64;
  # Known to be running; short tasks pass from assigned to their end.
  succeeded @4 :UInt64;
  failed @5 :UInt64;
  cancelled @6 :UInt64;
  stale @7 :UInt64;
  # Messages about attempts that were not the present ones.
}

struct WorkerFacts {
  # One worker.
  identity @0 :Data;
  # 16 bytes, as in its Hello.
  name @1 :Text;
  host @2 :Text;
  pid @3 :UInt32;
  managerName @4 :Text;
  slots @5 :UInt32;
  held @6 :UInt32;
  # Tasks assigned to it, running ones included.
  cpuPercent @7 :Float32;
  residentBytes @8 :UInt64;
  roundTripMicroseconds @9 :UInt64;
  draining @10 :Bool;
  capabilities @11 :List(Text);
  running @12 :UInt32;
  # Tasks that ran at its last heartbeat, as all that follows.
  hostFreeBytes @13 :UInt64;
  executors @14 :List(Worker.ExecutorFacts);
  connectedUnixMilliseconds @15 :UInt64;
  # Since when it is here.
  workerName @16 :Text;
  # What its manager calls it; empty if none started it.
}

struct ClientFacts {
  # One client, connected or not yet forgotten.
  identity @0 :Data;
  # 16 bytes, as in its Hello.
  name @1 :Text;
  connected @2 :Bool;
  unfinished @3 :UInt64;
  number @4 :UInt32;
  # Of its task ids: clientNumber * 2^40 + sequence.
}

struct ManagerFacts {
  # One worker manager.
  managerName @0 :Text;
  kind @1 :Text;
  maxSlots @2 :UInt32;
  startingSlots @3 :UInt32;
  runningSlots @4 :UInt32;
  failures @5 :UInt32;
  lastFailure @6 :Text;
  wantedSlots @7 :UInt32;
  # How many it was asked to have; of a fixed one maxSlots.
  fixed @8 :Bool;
  # It always has all its slots, whatever the load.
  withheldSlots @9 :UInt32;
  # Of maxSlots, those that it cannot offer at present.
  capabilities @10 :List(Text);
  # What each of its workers offers.
}

struct FunctionFacts {
  # All calls of the functions of one name, since the scheduler's start.
  name @0 :Text;
  succeeded @1 :UInt64;
  failed @2 :UInt64;
  # By errors of their own, time limits, memory limits and deaths.
  wallMicroseconds @3 :UInt64;
  # Of all calls together, as the next one.
  cpuMicroseconds @4 :UInt64;
  longestMicroseconds @5 :UInt64;
  # Wall time of the longest call; items of an array that ended together count with their mean.
  peakMemoryBytes @6 :UInt64;
  # The largest resident size that an executor had by the end of a call.
  unfinished @7 :UInt64;
  # Calls that are submitted and have not ended.
}

struct WaitingTasks {
  # Tasks that are ready and ask for the same capabilities.
  capabilities @0 :List(Text);
  tasks @1 :UInt64;
  # Tasks and items.
  offered @2 :Bool;
  # Whether a worker is here that offers all of these; otherwise they wait until one comes.
}

struct GraphFacts {
  # Tasks that were submitted with dependencies, and belong together by them.
  number @0 :UInt64;
  # Minted by the scheduler, never used again.
  client @1 :Data;
  # Identity of the client that submitted it.
  tasks @2 :UInt64;
  # How many there are; may grow while the client submits more that depends on them.
  finished @3 :UInt64;
  # Of these, those that ended well.
  failed @4 :UInt64;
  # Ended otherwise: failed, cancelled, or needed one that did.
  assigned @5 :UInt64;
  # With workers now.
  submittedUnixMilliseconds @6 :UInt64;
  endedUnixMilliseconds @7 :UInt64;
  # 0 as long as it goes on.
  name @8 :Text;
  # Of the function of the last task submitted, which mostly is what the graph is for.
}

struct EndedTasks {
  # A sample of the tasks and items that ended, in columns, an entry each: all of them up to about 500 a second, above that every
  # n-th. Runs of items that ended together are one entry. In the order in which the scheduler heard of them.
  tasks @0 :Data;
  # u64 column of task ids; of items that of their range.
  functions @1 :Data;
  # u32 column: places in `functionNames`.
  functionNames @2 :List(Text);
  workers @3 :Data;
  # u32 column: places in `workerIdentities`.
  workerIdentities @4 :List(Data);
  # 16 bytes each.
  slots @5 :Data;
  # u32 column: which of the worker's slots, 2^32 - 1 where that is not known.
  statuses @6 :Data;
  # u8 column of ResultStatus.
  endedUnixMilliseconds @7 :Data;
  # u64 column: when the scheduler heard of it.
  wallMicroseconds @8 :Data;
  # u64 column, of the items of an entry together, as the next one.
  cpuMicroseconds @9 :Data;
  # u64 column.
  peakMemoryBytes @10 :Data;
  # u64 column.
  counts @11 :Data;
  # u32 column: how many items an entry speaks of.
  total @12 :UInt64;
  # How many tasks and items ended in that time, those included that are left out above.
}

struct FailedTask {
  # A task or item that ended badly, and did not get another try. What ended only because of it is not told.
  task @0 :UInt64;
  # Task id, of an item its own.
  name @1 :Text;
  functionName @2 :Text;
  client @3 :Data;
  # Identity, as that of the worker.
  worker @4 :Data;
  # Where it ended; empty if that was nowhere.
  status @5 :Task.ResultStatus;
  unixMilliseconds @6 :UInt64;
  # When the scheduler heard of it.
  attempt @7 :UInt32;
  wallMicroseconds @8 :UInt64;
  cpuMicroseconds @9 :UInt64;
  peakMemoryBytes @10 :UInt64;
  typeName @11 :Text;
  # Of the exception; empty for one that did not end by an exception.
  message @12 :Text;
  # What happened, at most 4 KiB.
  traceback @13 :Text;
  # As the executor wrote it, the last 16 KiB. Nothing is unpickled for it.
  attempts @14 :List(Text);
  # What happened to the attempts before, as far as these are known.
}

struct LogLine {
  # A line of the scheduler's log.
  unixMilliseconds @0 :UInt64;
  level @1 :UInt32;
  # 20: as expected; 30: a warning; 40: an error.
  text @2 :Text;
}
