@0x8f51c3e9470ad6b2;
# Between a monitor (dialer) and a scheduler's monitor address (listener).
#
# The monitor sends `subscribe`. The scheduler answers with an `update` that is `full`, and then with one that tells what
# changed, every interval. A monitor that does not read misses updates and then gets a full one.

using Storage = import "storage.capnp";

struct MonitorToScheduler {
  union {
    unspecified @0 :Void;
    # Never sent; closes the connection.
    subscribe @1 :Subscribe;
  }
}

struct SchedulerToMonitor {
  union {
    unspecified @0 :Void;
    update @1 :Update;
  }
}

struct Subscribe {
  # Sent once, first; again to change the interval.
  intervalMilliseconds @0 :UInt32;
  # How often to tell; at least 100, 0 for 1000.
}

struct Update {
  # What there is to see, or what changed of it.
  full @0 :Bool;
  # `workers`, `clients` and `managers` are complete: forget what is not there.
  unixMilliseconds @1 :UInt64;
  tasks @2 :TaskCounts;
  workers @3 :List(WorkerFacts);
  # New or changed ones.
  removedWorkers @4 :List(Data);
  # Identities.
  clients @5 :List(ClientFacts);
  # All of them, always: they are few.
  managers @6 :List(ManagerFacts);
  # All of them, always.
  schedulerCpuPercent @7 :Float32;
  schedulerResidentBytes @8 :UInt64;
  objects @9 :Storage.Statistics;
  # Of the object storage server, as it said last; zeros before that. The request number means nothing.
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
}

struct ClientFacts {
  # One client, connected or not yet forgotten.
  identity @0 :Data;
  # 16 bytes, as in its Hello.
  name @1 :Text;
  connected @2 :Bool;
  unfinished @3 :UInt64;
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
}
