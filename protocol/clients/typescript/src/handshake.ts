// The dialer's side of the handshake, without a socket: what to say, and what to make of the answers.
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type * as $ from "capnp-es";
import { Handshake, Role } from "../generated/handshake.js";
import { ProtocolError, Refused } from "./errors.js";
import { bytesOf, dataOf, newMessage } from "./frames.js";

export const MAGIC = 0x52454c4143530a01n;
export const PROTOCOL_VERSION = 1;
const OLDEST_VERSION = 1;
const NONCE_BYTES = 32;

export interface Greeting {
  role: Role;
  identity: Uint8Array;
  name: string;
  nonce: Uint8Array;
}

/** HMAC-SHA-256 as handshake.capnp has it; `more` is what Welcome.mac goes over besides, and the channel of TLS. */
export function mac(secret: Uint8Array, who: string, said: Greeting, challenge: Uint8Array, more: Uint8Array = new Uint8Array()): Uint8Array {
  const numbers = new Uint8Array(Uint16Array.of(said.role, PROTOCOL_VERSION, OLDEST_VERSION).buffer);
  const parts = [Buffer.from(who), said.nonce, challenge, said.identity, numbers, more];
  return createHmac("sha256", secret).update(Buffer.concat(parts)).digest();
}

export class Dialer {
  /** With TLS, what is known of its session. */
  channel: Uint8Array = new Uint8Array();
  /** The listener's identity, once it has let us in. */
  listener?: Uint8Array;
  readonly #said: Greeting;
  #challenge?: Uint8Array;

  constructor(
    role: Role,
    identity: Uint8Array,
    name: string,
    private readonly secret: Uint8Array,
  ) {
    this.#said = { role, identity, name, nonce: secret.length ? randomBytes(NONCE_BYTES) : new Uint8Array() };
  }

  hello(): $.Message {
    return helloMessage(this.#said);
  }

  /** What to answer, if anything. Throws Refused and ProtocolError. */
  receive(message: $.Message): $.Message | undefined {
    const answer = message.getRoot(Handshake);
    switch (answer.which()) {
      case Handshake.CHALLENGE:
        return this.#prove(answer.challenge.method, bytesOf(answer.challenge.nonce));
      case Handshake.WELCOME:
        this.#welcome(answer);
        return undefined;
      case Handshake.REFUSED:
        throw new Refused(answer.refused.text);
      default:
        throw new ProtocolError("the peer answers hello with something else");
    }
  }

  #prove(method: string, nonce: Uint8Array): $.Message {
    if (!this.secret.length) throw new Refused("the peer asks for a secret, and this client has none");
    if (method !== "hmac-sha256") throw new Refused(`the peer asks for authentication by ${method}`);
    if (nonce.length !== NONCE_BYTES || this.#challenge) throw new ProtocolError("a challenge comes once, with 32 bytes");
    this.#challenge = nonce;
    const message = newMessage();
    message.initRoot(Handshake)._initProof().mac = dataOf(mac(this.secret, "scaler dialer", this.#said, nonce, this.channel));
    return message;
  }

  #welcome(answer: Handshake): void {
    const { magic, protocolVersion } = answer.welcome;
    const identity = bytesOf(answer.welcome.identity);
    if (magic !== MAGIC) throw new ProtocolError("the peer does not speak Scaler's protocol");
    if (protocolVersion < OLDEST_VERSION || protocolVersion > PROTOCOL_VERSION)
      throw new ProtocolError(`the peer picked protocol version ${protocolVersion}, not known here`);
    if (this.secret.length) {
      if (!this.#challenge) throw new Refused("the peer asks for no secret, and this client has one");
      const more = Buffer.concat([new Uint8Array(Uint16Array.of(protocolVersion).buffer), identity, this.channel]);
      const expected = mac(this.secret, "scaler listener", this.#said, this.#challenge, more);
      const proof = bytesOf(answer.welcome.mac);
      if (proof.length !== expected.length || !timingSafeEqual(proof, expected))
        throw new Refused("the peer did not prove that it knows the secret");
    }
    this.listener = identity;
  }
}

export function helloMessage(said: Greeting): $.Message {
  const message = newMessage();
  const hello = message.initRoot(Handshake)._initHello();
  hello.magic = MAGIC;
  hello.protocolVersion = PROTOCOL_VERSION;
  hello.oldestVersion = OLDEST_VERSION;
  hello.role = said.role;
  hello.identity = dataOf(said.identity);
  hello.name = said.name;
  hello.nonce = dataOf(said.nonce);
  return message;
}
