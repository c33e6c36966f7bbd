// Objects: put, get, release.
import { FromStorage, StorageFailureReason, ToStorage } from "../generated/storage.js";
import { Role } from "../generated/handshake.js";
import { Connection, newIdentity, type Credentials } from "./connection.js";
import { ConnectionLost, ObjectLost, ProtocolError, ScalerError } from "./errors.js";
import { dataOf, MAX_ATTACHMENT_BYTES, newMessage, type Frame } from "./frames.js";

interface Request {
  resolve: (content: Uint8Array) => void;
  reject: (error: Error) => void;
  parts: Uint8Array[];
  bytes: number;
}

export class Storage {
  #connection?: Promise<Connection>;
  #requests = new Map<bigint, Request>();
  #next = 0n;
  #closed = false;

  constructor(
    private readonly address: string,
    private readonly owner: Uint8Array,
    private readonly credentials: Credentials,
  ) {}

  async put(id: Uint8Array, content: Uint8Array): Promise<void> {
    await this.#again(async (connection, request) => {
      for (let offset = 0; offset === 0 || offset < content.length; offset += MAX_ATTACHMENT_BYTES) {
        const message = newMessage();
        const put = message.initRoot(ToStorage)._initPut();
        put.request = request;
        put.object = dataOf(id);
        put.owner = dataOf(this.owner);
        put.totalBytes = BigInt(content.length);
        put.offset = BigInt(offset);
        connection.write(message, content.subarray(offset, offset + MAX_ATTACHMENT_BYTES));
      }
    });
  }

  /** Of an object that was there. Rejects with ObjectLost where it is not any more. */
  async get(id: Uint8Array): Promise<Uint8Array> {
    return this.#again(async (connection, request) => {
      const message = newMessage();
      const get = message.initRoot(ToStorage)._initGet();
      get.request = request;
      get.object = dataOf(id);
      get.existed = true;
      connection.write(message);
    });
  }

  /** What we own there no longer. */
  release(id: Uint8Array): void {
    if (this.#closed) return;
    const message = newMessage();
    const release = message.initRoot(ToStorage)._initRelease();
    release.objects = dataOf(id);
    release.owner = dataOf(this.owner);
    // The scheduler frees what is left when this client has gone.
    this.#connected().then((connection) => connection.write(message), () => undefined);
  }

  close(): void {
    this.#closed = true;
    this.#connection?.then((connection) => connection.finish(), () => undefined);
  }

  /** A connection that is lost is made again once for each request. */
  async #again(ask: (connection: Connection, request: bigint) => Promise<void>): Promise<Uint8Array> {
    for (let fresh = this.#connection === undefined; ; fresh = true) {
      try {
        const connection = await this.#connected();
        const request = (this.#next += 1n);
        return await new Promise((resolve, reject) => {
          this.#requests.set(request, { resolve, reject, parts: [], bytes: 0 });
          ask(connection, request).catch(reject);
        });
      } catch (error) {
        if (fresh || !(error instanceof ConnectionLost)) throw error;
      }
    }
  }

  #connected(): Promise<Connection> {
    if (this.#closed) return Promise.reject(new ScalerError("the client has left"));
    return (this.#connection ??= this.#connect());
  }

  async #connect(): Promise<Connection> {
    try {
      const connection = await Connection.dial(this.address, Role.STORAGE_USER, newIdentity(), "", this.credentials);
      connection.onFrame = (frame) => this.#receive(frame);
      connection.onClose = (reason) => {
        this.#connection = undefined;
        const lost = [...this.#requests.values()];
        this.#requests.clear();
        for (const request of lost) request.reject(reason);
      };
      connection.listen();
      return connection;
    } catch (error) {
      this.#connection = undefined;
      throw error;
    }
  }

  #receive({ message, attachment }: Frame): void {
    const answer = message.getRoot(FromStorage);
    switch (answer.which()) {
      case FromStorage.STORED:
        return this.#end(answer.stored.request)?.resolve(new Uint8Array());
      case FromStorage.FAILED: {
        const { request, reason, text } = answer.failed;
        const gone = reason === StorageFailureReason.FREED || reason === StorageFailureReason.LOST;
        return this.#end(request)?.reject(gone ? new ObjectLost(text) : new ScalerError(text));
      }
      case FromStorage.CHUNK: {
        const { request: number, totalBytes, offset } = answer.chunk;
        const request = this.#requests.get(number);
        if (!request) return;
        if (Number(offset) !== request.bytes) throw new ProtocolError("a part of an object is missing");
        request.parts.push(attachment);
        request.bytes += attachment.length;
        if (request.bytes >= Number(totalBytes)) this.#end(number)?.resolve(Uint8Array.from(Buffer.concat(request.parts)));
        return;
      }
      case FromStorage.PUT_WAITS:
        return;
      default:
        throw new ProtocolError("the object storage says something that was not asked for");
    }
  }

  #end(number: bigint): Request | undefined {
    const request = this.#requests.get(number);
    this.#requests.delete(number);
    return request;
  }
}

/** The 24 bytes that name a stored value: of a `stored` result, and of an extension in arguments. */
export function referenceOf(id: Uint8Array, size: number): Uint8Array {
  return Uint8Array.from([...id, ...new Uint8Array(BigUint64Array.of(BigInt(size)).buffer)]);
}

