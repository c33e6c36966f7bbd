/** The root of what this client throws. */
export class ScalerError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** The scheduler cannot be reached, or the object storage. */
export class ConnectionLost extends ScalerError {}

/** The peer did not let us in, and said why. */
export class Refused extends ScalerError {}

/** The peer said something that it may not say. */
export class ProtocolError extends ScalerError {}

/** The task was cancelled. */
export class Cancelled extends ScalerError {}

/** An object is not in the object storage any more. */
export class ObjectLost extends ScalerError {}

/** The task ended without a result. */
export class TaskError extends ScalerError {
  constructor(
    /** The exception's, "builtins.ValueError"; empty where it did not raise, but crashed, ran too long or was not taken. */
    readonly type: string,
    message: string,
    readonly traceback: string,
  ) {
    super(message);
  }
}
