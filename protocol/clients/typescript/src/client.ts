// The client: what has not ended, and the connection that carries it.
import { setTimeout as sleep } from "node:timers/promises";
import * as $ from "capnp-es";
import { SchedulerToClient } from "../generated/client.js";
import { Role } from "../generated/handshake.js";
import { Failure, ResultStatus } from "../generated/task.js";
import { Connection, ID_BYTES, newIdentity, type Credentials, type TlsOptions } from "./connection.js";
import { Cancelled, ConnectionLost, ObjectLost, ProtocolError, Refused, TaskError } from "./errors.js";
import { bytesOf, dataOf, u64Column, type Frame } from "./frames.js";
import { arrays, definition, ended, say, submissions, type Call, type Ended, type Options } from "./messages.js";
import { referenceOf, Storage } from "./storage.js";
import { Node, read, StoredObject, written, type Value } from "./values.js";

export type { Options };

const BETWEEN_DIALS_MILLISECONDS = 200;

export interface ClientOptions {
  /** That of the cluster, if it asks for one: the content of the secret file, without white space at its ends. */
  secret?: string | Uint8Array;
  /** For addresses tls://host:port. */
  tls?: TlsOptions;
  /** For log lines and monitors. */
  name?: string;
  /** How long a lost scheduler is tried for. */
  timeoutMilliseconds?: number;
}

/** The result of one task. */
export interface Future {
  /** Rejects with TaskError, Cancelled, ObjectLost, ConnectionLost. */
  result(): Promise<Value>;
  /** Have it stopped, also if it runs. Nothing happens if it has ended. */
  cancel(): void;
}

/** Calls that take each other's results. */
export class Graph {
  /** @internal */
  readonly calls: { path: string; args: Value[]; kwargs: Record<string, Value>; options: Options }[] = [];

  /** A call; what comes back is an argument of later ones, at any depth. */
  call(path: string, args: Value[], kwargs: Record<string, Value> = {}, options: Options = {}): Node {
    return new Node(this.calls.push({ path, args, kwargs, options }) - 1);
  }
}

class Task implements Future, Call {
  sequence = -1;
  function = -1;
  dependencies: number[] = [];
  wanted = true;
  item = false;
  done = false;
  /** Of a graph: all of its tasks, which are offered again as long as one is wanted. */
  graph?: Task[];
  /** Where its arguments are, if they are too large for a message. */
  stored?: Uint8Array;
  #outcome: Promise<Ended>;
  #settle!: { resolve: (ended: Ended) => void; reject: (error: Error) => void };
  #value?: Promise<Value>;

  constructor(
    private readonly client: Client,
    public payload: Uint8Array,
    readonly options: Options,
  ) {
    this.#outcome = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.#outcome.catch(() => undefined); // Nobody has to ask.
  }

  end(outcome: Ended | Error): void {
    this.done = true;
    if (outcome instanceof Error) this.#settle.reject(outcome);
    else this.#settle.resolve(outcome);
  }

  result(): Promise<Value> {
    return (this.#value ??= this.#outcome.then((outcome) => this.client.valueOf(outcome)));
  }

  cancel(): void {
    this.client.cancel(this);
  }
}

export class Client {
  /** How many tasks run at once on the cluster, as the scheduler told last. */
  slots = 0;
  readonly #identity = newIdentity();
  #connection?: Connection;
  #scheduler?: Uint8Array;
  #storage?: Storage;
  #inlineLimit = 0;
  #nextSequence = 0;
  #functions = new Map<string, number>();
  #unfinished = new Map<number, Task>();
  #kept = new Map<string, Uint8Array>();
  #heartbeat?: NodeJS.Timeout;
  #heard = 0;
  #over?: Error;
  #left?: () => void;

  private constructor(
    private readonly address: string,
    private readonly name: string,
    private readonly credentials: Credentials,
    private readonly timeout: number,
  ) {}

  /** Rejects with ConnectionLost when nobody answers in time, Refused, ScalerError for a malformed address. */
  static async connect(address: string, options: ClientOptions = {}): Promise<Client> {
    const secret = Uint8Array.from(Buffer.from((options.secret ?? "") as string));
    const credentials = { secret, tls: options.tls ?? {} };
    const client = new Client(address, options.name ?? "", credentials, options.timeoutMilliseconds ?? 60_000);
    await client.#dialUntilConnected();
    return client;
  }

  // ---- tasks

  /** Calls `package.module:function` at a worker. */
  submit(path: string, args: Value[], kwargs: Record<string, Value> = {}, options: Options = {}): Future {
    const task = new Task(this, written([args, kwargs]), options);
    this.#submit([task], () => this.#enter([[path, task]], submissions));
    return task;
  }

  /** Many calls of one function, each with an entry of `calls` as arguments. They travel as one. */
  submitMany(path: string, calls: Value[][], options: Options = {}): Future[] {
    const tasks = calls.map((args) => Object.assign(new Task(this, written([args, {}]), options), { item: true }));
    if (tasks.length) this.#submit(tasks, () => this.#enter(tasks.map((task) => [path, task]), arrays));
    return tasks;
  }

  /** All calls of a graph; the futures are those of the nodes `wanted`, in this order. */
  submitGraph(graph: Graph, wanted: Node[]): Future[] {
    const chosen = new Set(wanted.map((node) => node.index));
    const tasks = graph.calls.map(({ args, kwargs, options }, index) => {
      const dependencies: number[] = [];
      const task = new Task(this, written([args, kwargs], dependencies), options);
      return Object.assign(task, { dependencies, wanted: chosen.has(index) });
    });
    for (const task of tasks) task.graph = tasks;
    const calls = graph.calls.map(({ path }, index): [string, Task] => [path, tasks[index]!]);
    this.#submit(tasks, () => {
      for (const task of tasks) task.dependencies = task.dependencies.map((index) => this.#nextSequence + index);
      this.#enter(calls, submissions);
    });
    return wanted.map((node) => tasks[node.index]!);
  }

  /** What is too large for a message is stored first; then they are sent. */
  #submit(tasks: Task[], send: () => void): void {
    if (this.#over) throw this.#over;
    const large = tasks.filter((task) => task.payload.length > this.#inlineLimit);
    if (!large.length) return send();
    Promise.all(large.map((task) => this.#store(task))).then(
      () => (this.#over ? tasks.forEach((task) => task.end(this.#over!)) : send()),
      (error: Error) => tasks.forEach((task) => task.end(error)),
    );
  }

  async #store(task: Task): Promise<void> {
    const object = await this.#putBytes(task.payload);
    task.stored = object.reference.slice(0, ID_BYTES);
    task.payload = written(object);
  }

  #enter(calls: [string, Task][], messages: (calls: Call[]) => $.Message[]): void {
    const undefined_: [number, string][] = [];
    for (const [path, task] of calls) {
      if (!this.#functions.has(path)) {
        undefined_.push([this.#functions.size, path]);
        this.#functions.set(path, this.#functions.size);
      }
      task.function = this.#functions.get(path)!;
      task.sequence = this.#nextSequence++;
      if (task.done) continue; // It was cancelled while its arguments were stored.
      if (task.wanted) this.#unfinished.set(task.sequence, task);
    }
    const tasks = calls.map(([, task]) => task).filter((task) => !task.done || task.graph);
    if (undefined_.length) this.#say(definition(undefined_));
    for (const message of messages(tasks)) this.#say(message);
  }

  /** @internal */
  cancel(task: Task): void {
    if (task.done) return;
    task.end(new Cancelled("the task was cancelled"));
    if (task.sequence >= 0) this.#sayCancel([task.sequence]);
  }

  #sayCancel(sequences: number[]): void {
    this.#say(say((message) => (message._initCancel().sequences = u64Column(sequences))));
  }

  /** @internal */
  async valueOf({ status, payload }: Ended): Promise<Value> {
    switch (status) {
      case ResultStatus.SUCCEEDED:
        return read(payload);
      case ResultStatus.STORED: {
        const content = await this.#storage!.get(payload.slice(0, ID_BYTES));
        this.#storage!.release(payload.slice(0, ID_BYTES));
        return read(content);
      }
      case ResultStatus.CANCELLED:
        throw new Cancelled("the task was cancelled");
      case ResultStatus.OBJECT_LOST:
        throw new ObjectLost(Buffer.from(payload).toString());
      case ResultStatus.FAILED: {
        const { typeName, message, traceback } = new $.Message(payload, false).getRoot(Failure);
        throw new TaskError(typeName, message, traceback);
      }
      default:
        throw new TaskError("", Buffer.from(payload).toString(), "");
    }
  }

  // ---- objects

  /** A value in the object storage, which many calls can take: it travels once. */
  put(value: Value): Promise<StoredObject> {
    return this.#putBytes(written(value));
  }

  async #putBytes(content: Uint8Array): Promise<StoredObject> {
    const id = newIdentity();
    await this.#storage!.put(id, content);
    this.#kept.set(Buffer.from(id).toString("hex"), content);
    return new StoredObject(referenceOf(id, content.length), () => this.#free(id));
  }

  #free(id: Uint8Array): void {
    if (this.#kept.delete(Buffer.from(id).toString("hex"))) this.#storage!.release(id);
  }

  /** The object storage has lost these, and tasks take them. */
  async #restore(ids: Uint8Array): Promise<void> {
    const failures: string[] = [];
    for (let begin = 0; begin < ids.length; begin += ID_BYTES) {
      const id = ids.slice(begin, begin + ID_BYTES);
      const content = this.#kept.get(Buffer.from(id).toString("hex"));
      const failed = content ? await this.#storage!.put(id, content).catch((error: Error) => error) : new Error("it was freed");
      failures.push(failed instanceof Error ? failed.message : "");
    }
    const answer = say((message) => {
      const restored = message._initRestored();
      restored.objects = dataOf(ids);
      const list = restored._initFailures(failures.length);
      failures.forEach((text, i) => list.set(i, text));
    });
    this.#say(answer);
  }

  // ---- the connection

  async #dialUntilConnected(): Promise<void> {
    for (const until = Date.now() + this.timeout; ; await sleep(BETWEEN_DIALS_MILLISECONDS)) {
      try {
        return await this.#dial();
      } catch (error) {
        if (!(error instanceof ConnectionLost) || this.#over || Date.now() >= until) throw error;
      }
    }
  }

  async #dial(): Promise<void> {
    const connection = await Connection.dial(this.address, Role.CLIENT, this.#identity, this.name, this.credentials);
    const before = this.#scheduler;
    await new Promise<void>((resolve, reject) => {
      connection.onClose = reject;
      connection.onFrame = (frame) => {
        this.#settings(connection, frame);
        connection.onFrame = (later) => this.#receive(later);
        resolve();
      };
      connection.listen();
    });
    if (this.#over) {
      // close() was called meanwhile.
      clearInterval(this.#heartbeat);
      return connection.destroy();
    }
    connection.onClose = (reason) => this.#lost(reason);
    this.#connection = connection;
    this.#scheduler = connection.listener;
    if (before) this.#offerAgain(!Buffer.from(before).equals(connection.listener));
  }

  #settings(connection: Connection, { message }: Frame): void {
    const first = message.getRoot(SchedulerToClient);
    if (first.which() !== SchedulerToClient.SETTINGS) throw new ProtocolError("the scheduler did not begin with its settings");
    const { settings } = first;
    this.slots = settings.slots;
    this.#inlineLimit = Number(settings.inlineLimitBytes);
    this.#storage ??= new Storage(settings.objectStorageAddress, this.#identity, this.credentials);
    this.#heard = Date.now();
    const silence = Number(settings.timeoutMilliseconds);
    const beat = (): void => {
      if (Date.now() - this.#heard > silence) return connection.destroy();
      const sent = process.hrtime.bigint() / 1000n;
      this.#say(say((said) => (said._initHeartbeat().sentMicroseconds = sent)));
    };
    this.#heartbeat = setInterval(beat, Number(settings.heartbeatMilliseconds));
  }

  #lost(reason: Error): void {
    clearInterval(this.#heartbeat);
    this.#connection = undefined;
    if (this.#left) return this.#left();
    if (this.#over) return undefined;
    if (reason instanceof Refused) return this.#giveUp(reason);
    this.#dialUntilConnected().catch((error: Error) => {
      this.#giveUp(new ConnectionLost(`the connection to ${this.address} is lost: ${error.message}`));
    });
    return undefined;
  }

  #giveUp(reason: Error): void {
    this.#over ??= reason;
    const tasks = [...this.#unfinished.values()];
    this.#unfinished.clear();
    for (const task of tasks) task.end(reason);
    this.#storage?.close();
  }

  /** After a connection that broke: everything that has not ended, under the same numbers. */
  #offerAgain(another: boolean): void {
    const offered = new Map<number, Task>();
    for (const [sequence, task] of this.#unfinished)
      if (!task.done) for (const member of task.graph ?? [task]) offered.set(member.sequence, member);
      else this.#unfinished.delete(sequence);
    const tasks = [...offered.values()].sort((a, b) => a.sequence - b.sequence);
    for (const task of tasks) task.wanted = this.#unfinished.has(task.sequence);
    if (another) this.#say(say((message) => (message._initResuming().slots = this.slots)));
    if (this.#functions.size) this.#say(definition([...this.#functions].map(([path, number]) => [number, path])));
    const items = tasks.filter((task) => task.item);
    const runs: Task[][] = [];
    for (const task of items) {
      const last = runs.at(-1)?.at(-1);
      if (last && last.sequence + 1 === task.sequence && last.function === task.function && last.options === task.options)
        runs.at(-1)!.push(task);
      else runs.push([task]);
    }
    for (const message of runs.flatMap(arrays)) this.#say(message);
    for (const message of submissions(tasks.filter((task) => !task.item))) this.#say(message);
    const cancelled = tasks.filter((task) => task.graph && task.done && task.wanted).map((task) => task.sequence);
    if (cancelled.length) this.#sayCancel(cancelled);
    if (another) this.#say(say((message) => message._initAllOffered()));
  }

  /** While there is no connection nothing is lost by this: all that has not ended is offered again. */
  #say(message: $.Message): void {
    this.#connection?.write(message);
  }

  #receive({ message }: Frame): void {
    const said = message.getRoot(SchedulerToClient);
    this.#heard = Date.now();
    switch (said.which()) {
      case SchedulerToClient.RESULTS:
        return ended(said.results).forEach((each) => this.#ended(each));
      case SchedulerToClient.HEARTBEAT:
        this.slots = said.heartbeat.slots;
        return undefined;
      case SchedulerToClient.RESTORE:
        void this.#restore(bytesOf(said.restore.objects));
        return undefined;
      case SchedulerToClient.ENDING:
        return this.#giveUp(new ConnectionLost(`the scheduler at ${this.address} ended: ${said.ending.text}`));
      case SchedulerToClient.OUTPUT:
      case SchedulerToClient.EXPLANATION:
      case SchedulerToClient.SHUTDOWN_REFUSED:
        return undefined; // Not asked for.
      default:
        throw new ProtocolError("the scheduler says something that this client does not know");
    }
  }

  #ended(outcome: Ended): void {
    const task = this.#unfinished.get(outcome.sequence);
    if (!task) return; // A second result for a sequence is ignored.
    this.#unfinished.delete(outcome.sequence);
    if (task.done && outcome.status === ResultStatus.STORED) this.#storage!.release(outcome.payload.slice(0, ID_BYTES));
    if (!task.done) task.end(outcome);
    // The arguments of a graph are needed until all of it has ended.
    const whole = task.graph ?? [task];
    if (whole.some((member) => this.#unfinished.has(member.sequence))) return;
    for (const member of whole) if (member.stored) this.#free(member.stored);
  }

  /** Leaves: what has not ended is cancelled. */
  async close(): Promise<void> {
    if (!this.#over) {
      const reason = new Cancelled("the client has left");
      this.#over = reason;
      for (const task of this.#unfinished.values()) task.end(reason);
      this.#unfinished.clear();
    }
    this.#storage?.close();
    const connection = this.#connection;
    if (!connection) return;
    await new Promise<void>((resolve) => {
      this.#left = resolve;
      connection.write(say((message) => message._initGoodbye()));
      connection.finish();
    });
  }
}

