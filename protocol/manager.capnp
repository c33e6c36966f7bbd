@0x9d37e8a1c5042bf6;
# Between a worker manager (dialer) and a scheduler (listener).
#
# A manager brings capacity: it starts and stops workers somewhere, and these connect to the scheduler by themselves. It
# sends `register` first. A *fixed* manager keeps its number of slots whatever happens; a *dynamic* one follows `desired`.
#
# Loss: workers stay when their manager is gone; the manager dials again and registers again.

struct ManagerToScheduler {
  union {
    unspecified @0 :Void;
    # Never sent; closes the connection.
    register @1 :RegisterManager;
    report @2 :ManagerReport;
    leaving @3 :ManagerLeaving;
  }
}

struct SchedulerToManager {
  union {
    unspecified @0 :Void;
    desired @1 :Desired;
    shutdown @2 :ShutdownManager;
  }
}

struct RegisterManager {
  # Sent once, first.
  managerName @0 :Text;
  # The same name that its workers give in RegisterWorker.managerName.
  kind @1 :Text;
  # "baremetal_native", for instance; for people.
  maxSlots @2 :UInt32;
  # The most it can offer.
  capabilities @3 :List(Text);
  # What each of its workers offers.
  fixed @4 :Bool;
}

struct ManagerReport {
  # Sent when something changed, and every heartbeat interval: silence is how a scheduler tells a dead manager.
  startingSlots @0 :UInt32;
  # Of workers that were started and have not been seen to run.
  runningSlots @1 :UInt32;
  failures @2 :UInt32;
  # Workers that ended without being asked to, since the manager started.
  lastFailure @3 :Text;
  # How the last of them ended, for people.
}

struct Desired {
  # How many slots the scheduler wants of a dynamic manager, as a total of what runs and what is starting. The newest message
  # counts. The manager ends no worker when fewer are wanted: the scheduler asks those that are to leave (worker.capnp, Drain).
  slots @0 :UInt32;
}

struct ManagerLeaving {
  # The manager ends in order; its workers end too.
}

struct ShutdownManager {
  # Stop all workers, then end.
  text @0 :Text;
}
