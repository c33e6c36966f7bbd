@0xe2b30da002f70bbb;
# What several conversations say about profiles: where tasks are in their code, looked at many times a second.
#
# A monitor asks for a profile (monitor.capnp). The scheduler tells the workers that it concerns (`sample`), these their executors,
# and what executors find goes the same way back (`samples`), each time only what is new: so whoever puts all of them together
# has the whole, and what is lost on the way is missing in it and nothing more.

struct BeginSampling {
  # From the scheduler to workers, and from a worker to its executors, also to those that start while it goes on. Answered by
  # StackSamples, until one has ended set.
  profile @0 :UInt64;
  # Minted by the scheduler, never used again.
  milliseconds @1 :UInt32;
  # For how long, from now on.
  hertz @2 :UInt32;
  # How often a second, 1 to 1000.
  tellMilliseconds @3 :UInt32;
  # How often to say what was found.
  slots @4 :Data;
  # u32 column: only the executors of these slots. Empty: all of them.
  functionName @5 :Text;
  # Only while a function of this name runs. Empty: whatever runs.
}

struct EndSampling {
  # End a profile before its time. Answered by the last StackSamples of it.
  profile @0 :UInt64;
}

struct StackSamples {
  # What was found since the last ones: how often each function was seen with each stack, in columns.
  profile @0 :UInt64;
  functionNames @1 :List(Text);
  # Of functions that were called as tasks.
  frameNames @2 :List(Text);
  # The frames of which the stacks are made, each once, by three columns: what the frame runs (a qualified name),
  frameFiles @3 :List(Text);
  # in which file,
  frameLines @4 :Data;
  # u32 column: and from which line on.
  functions @5 :Data;
  # u32 column, an entry for each different stack: places in `functionNames`.
  stackEnds @6 :Data;
  # u32 column: where each stack ends in the next column.
  stacks @7 :Data;
  # u32 column: places in the frames, the outermost frame first, up to 128 of each stack. Frames of the executor itself, which
  # are outside of all of them, are left out.
  counts @8 :Data;
  # u64 column: for how many periods (of 1 / hertz seconds) the function was there. A sample that came late, because the task did
  # not let go of the interpreter, counts for the periods that it missed.
  leftOut @9 :UInt64;
  # Periods of stacks that are not told, since there were too many different ones.
  ended @10 :Bool;
  # These are the last ones of this sender. What follows is said by workers only.
  executors @11 :UInt32;
  # How many were asked so far.
  executorsLost @12 :UInt32;
  # Of these, those that ended before they had told all.
  executorsSilent @13 :UInt32;
  # Of these, those that had not begun by the end: their tasks did not let go of the interpreter, or waited in the system.
}
