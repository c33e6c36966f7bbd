// A connection to a scheduler or an object storage: a socket, the handshake, frames.
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import type * as $ from "capnp-es";
import type { Role } from "../generated/handshake.js";
import { ConnectionLost, ScalerError } from "./errors.js";
import { frameOf, FrameReader, type Frame } from "./frames.js";
import { Dialer } from "./handshake.js";

export const ID_BYTES = 16;
const HANDSHAKE_MILLISECONDS = 10_000;

export function newIdentity(): Uint8Array {
  return Uint8Array.from(randomBytes(ID_BYTES));
}

export class Connection {
  /** Told of each frame after the handshake. What it throws closes the connection. */
  onFrame: (frame: Frame) => void = () => {};
  /** Told once, when the connection has ended. */
  onClose: (reason: Error) => void = () => {};
  listener = new Uint8Array();
  #early: Frame[] = [];
  #open = false;
  #reason?: Error;

  private constructor(
    private readonly socket: Socket,
    private readonly reader: FrameReader,
  ) {}

  /** Dials "tcp://host:port" or "ipc://path". Rejects with ConnectionLost, Refused, ScalerError. */
  static async dial(address: string, role: Role, identity: Uint8Array, name: string, secret: Uint8Array): Promise<Connection> {
    const socket = connect(placeOf(address));
    socket.setNoDelay(true);
    const connection = new Connection(socket, new FrameReader());
    const dialer = new Dialer(role, identity, name, secret);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => socket.destroy(new Error("no answer to hello")), HANDSHAKE_MILLISECONDS);
      socket.on("connect", () => connection.write(dialer.hello()));
      socket.on("data", (chunk) => {
        try {
          connection.#receive(chunk, dialer, resolve);
        } catch (error) {
          connection.#reason ??= error as Error;
          socket.destroy();
        }
      });
      socket.on("error", (error) => (connection.#reason ??= new ConnectionLost(`${address}: ${error.message}`)));
      socket.on("close", () => {
        clearTimeout(timer);
        const reason = connection.#reason ?? new ConnectionLost(`${address}: the peer closed the connection`);
        reject(reason);
        if (connection.#open) connection.onClose(reason);
      });
      socket.on("connect", () => clearTimeout(timer));
    });
    return connection;
  }

  #receive(chunk: Uint8Array, dialer: Dialer, welcomed: () => void): void {
    this.reader.feed(chunk);
    for (let frame = this.reader.take(); frame; frame = this.reader.take()) {
      if (this.#open) {
        this.onFrame(frame);
      } else if (dialer.listener) {
        this.#early.push(frame); // Before anybody listens.
      } else {
        const answer = dialer.receive(frame.message);
        if (answer) this.write(answer);
        if (dialer.listener) {
          this.listener = Uint8Array.from(dialer.listener);
          this.reader.handshake = false;
          welcomed();
        }
      }
    }
  }

  /** From now on onFrame and onClose are called. */
  listen(): void {
    this.#open = true;
    for (const frame of this.#early.splice(0)) this.onFrame(frame);
    if (this.socket.destroyed) this.onClose(this.#reason ?? new ConnectionLost("the peer closed the connection"));
  }

  write(message: $.Message, attachment?: Uint8Array): void {
    if (!this.socket.destroyed) this.socket.write(frameOf(message, attachment));
  }

  /** Nothing more is written; the peer closes when it has read all. */
  finish(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }
}

function placeOf(address: string): { path: string } | { host: string; port: number } {
  if (address.startsWith("ipc://")) return { path: address.slice(6) };
  const found = /^tcp:\/\/(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(address.trim());
  if (!found) throw new ScalerError(`'${address}' is no address; write tcp://host:port`);
  return { host: (found[1] ?? found[2])!, port: Number(found[3]) };
}
