@0x9d37e8a1c5042bf6;
# Between a worker manager (dialer) and a scheduler (listener).
#
# A manager brings capacity: it starts workers somewhere, and these connect to the scheduler by themselves. It sends
# `register` first, then `report`. A *fixed* manager keeps its number of slots whatever happens. A *dynamic* one follows
# `desired`: it starts what is missing. It ends no worker that is at work: to have fewer, the scheduler tells workers to
# drain (worker.capnp), and these end by themselves.
#
# All numbers are totals, never steps: a message that comes late, twice or not at all never asks for anything twice.
#
# Loss: workers stay when their manager is gone; the manager dials again, registers again, and is told which of its workers
# are connected. When it has not come back after `outlivedMilliseconds`, the scheduler drains its workers.

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
  # The same name that its workers give in RegisterWorker.managerName. A dynamic manager is refused while another dynamic
  # one of this name is connected; of two connections of the same identity the newer counts.
  kind @1 :Text;
  # "baremetal_native", for instance; for people.
  maxSlots @2 :UInt32;
  # The most it can offer.
  capabilities @3 :List(Text);
  # What each of its workers offers.
  fixed @4 :Bool;
  costTier @5 :UInt32;
  # What a slot costs, compared with those of other managers: the lowest tier is used first.
  outlivedMilliseconds @6 :UInt64;
  # Of a dynamic manager: how long its workers go on without it. 0: for ever.
}

struct ManagerReport {
  # Sent when something changed, and every heartbeat interval: silence is how a scheduler tells a dead manager.
  startingSlots @0 :UInt32;
  # Of workers that were asked for and that the manager has not seen at work: a fixed manager by their process, a dynamic
  # one by Desired.connected.
  runningSlots @1 :UInt32;
  # Of workers that are at work, draining ones included.
  failures @2 :UInt32;
  # Workers that ended without being asked to, since the manager started.
  lastFailure @3 :Text;
  # How the last of them ended, for people.
  withheldSlots @4 :UInt32;
  # Of maxSlots, those that it cannot offer at present: hosts that do not answer, a limit that is reached.
  leavingWorkers @5 :List(Text);
  # Names of workers whose machine will be taken away soon. The scheduler asks those that are connected to leave.
}

struct Desired {
  # What the scheduler wants of a dynamic manager. Sent when it changes, and after the first report. The newest message counts.
  slots @0 :UInt32;
  # How many slots in all, those of workers that are starting included, those of draining ones not.
  sets @1 :List(DesiredSet);
  # What the slots are for, as far as tasks wait for them: for managers that can start workers of several kinds. No message is
  # sent when only this has changed.
  connected @2 :List(ConnectedWorker);
  # All of its workers that are connected to the scheduler.
}

struct DesiredSet {
  # Slots that tasks wait for that ask for the same capabilities.
  capabilities @0 :List(Text);
  slots @1 :UInt32;
}

struct ConnectedWorker {
  # A worker of the manager.
  workerName @0 :Text;
  # As in RegisterWorker.
  slots @1 :UInt32;
  draining @2 :Bool;
  # It is asked to leave: it ends by itself when its last task has ended.
}

struct ManagerLeaving {
  # The manager ends in order; its workers end too.
}

struct ShutdownManager {
  # Stop all workers, then end.
  text @0 :Text;
}
