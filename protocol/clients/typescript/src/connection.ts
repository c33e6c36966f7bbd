// A connection to a scheduler or an object storage: a socket, with TLS or without it, the handshake, frames.
import { createHash, randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import type * as $ from "capnp-es";
import type { Role } from "../generated/handshake.js";
import { ConnectionLost, Refused, ScalerError } from "./errors.js";
import { frameOf, FrameReader, type Frame } from "./frames.js";
import { Dialer } from "./handshake.js";

export const ID_BYTES = 16;
const HANDSHAKE_MILLISECONDS = 10_000;

/** For addresses tls://host:port: texts in PEM. */
export interface TlsOptions {
  /** The certificates of those who sign the certificates that are trusted; those that Node knows without it. */
  ca?: string | Buffer;
  /** The client's own, where the listener asks for one, and its key. */
  certificate?: string | Buffer;
  key?: string | Buffer;
  /** The name in the listener's certificate, if it is not the host of the address. */
  serverName?: string;
}

/** By what a client is known, and knows its cluster. */
export interface Credentials {
  secret: Uint8Array;
  tls: TlsOptions;
}

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

  /** Dials "tcp://host:port", "tls://host:port" or "ipc://path". Rejects with ConnectionLost, Refused, ScalerError. */
  static async dial(address: string, role: Role, identity: Uint8Array, name: string, by: Credentials): Promise<Connection> {
    const tls = address.startsWith("tls://");
    const socket = tls ? connectByTls(placeOf(address), by.tls) : connect(placeOf(address));
    socket.setNoDelay(true);
    const connection = new Connection(socket, new FrameReader());
    const dialer = new Dialer(role, identity, name, by.secret);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => socket.destroy(new Error("no answer to hello")), HANDSHAKE_MILLISECONDS);
      const welcomed = (): void => (clearTimeout(timer), resolve());
      socket.on(tls ? "secureConnect" : "connect", () => {
        if (tls) dialer.channel = channelOf(socket as TLSSocket);
        connection.write(dialer.hello());
      });
      socket.on("data", (chunk) => {
        try {
          connection.#receive(chunk, dialer, welcomed);
        } catch (error) {
          connection.#reason ??= error as Error;
          socket.destroy();
        }
      });
      socket.on("error", (error) => (connection.#reason ??= reasonOf(address, error)));
      socket.on("close", () => {
        clearTimeout(timer);
        const reason = connection.#reason ?? new ConnectionLost(`${address}: the peer closed the connection`);
        reject(reason);
        if (connection.#open) connection.onClose(reason);
      });
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
  const found = /^(?:tcp|tls):\/\/(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(address.trim());
  if (!found) throw new ScalerError(`'${address}' is no address; write tcp://host:port or tls://host:port`);
  return { host: (found[1] ?? found[2])!, port: Number(found[3]) };
}

function connectByTls(place: object, { ca, certificate: cert, key, serverName }: TlsOptions): TLSSocket {
  const named = serverName === undefined ? {} : { servername: serverName };
  return connectTls({ ...place, ...named, ca, cert, key, minVersion: "TLSv1.2" });
}

/** What both ends know of the session: the proofs of the secret are bound to it. */
function channelOf(socket: TLSSocket): Uint8Array {
  return createHash("sha256").update(socket.getPeerCertificate().raw).digest();
}

/** Dialing again is of no use where a certificate is not taken. */
function reasonOf(address: string, error: NodeJS.ErrnoException): ScalerError {
  const text = `${address}: ${error.message}`;
  return error.code === undefined || error.code === "ECONNRESET" || error.syscall ? new ConnectionLost(text) : new Refused(text);
}
