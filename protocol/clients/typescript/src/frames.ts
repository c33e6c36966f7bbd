// Frames: a header with two lengths, a Cap'n Proto message, an attachment.
import * as $ from "capnp-es";
import { ProtocolError } from "./errors.js";
import { Proof } from "../generated/handshake.js";

export const MAX_ATTACHMENT_BYTES = 1 << 20;
const MAX_MESSAGE_BYTES = 64 << 20;
const MAX_HANDSHAKE_BYTES = 64 << 10;
const HEADER_BYTES = 8;

export interface Frame {
  message: $.Message;
  attachment: Uint8Array;
}

/** A message to fill, of one segment. */
export function newMessage(): $.Message {
  return new $.Message(undefined, false, true);
}

export function frameOf(message: $.Message, attachment: Uint8Array = new Uint8Array()): Uint8Array {
  const content = new Uint8Array(message.toArrayBuffer());
  const frame = new Uint8Array(HEADER_BYTES + content.length + attachment.length);
  const view = new DataView(frame.buffer);
  view.setUint32(0, content.length, true);
  view.setUint32(4, attachment.length, true);
  frame.set(content, HEADER_BYTES);
  frame.set(attachment, HEADER_BYTES + content.length);
  return frame;
}

/** Cuts what arrives into frames. */
export class FrameReader {
  /** Until `welcome` frames are small. */
  handshake = true;
  #chunks: Uint8Array[] = [];
  #have = 0;
  #need = HEADER_BYTES;

  feed(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#have += chunk.length;
  }

  /** The next whole frame, undefined where more has to arrive first. Throws ProtocolError for what breaks a rule. */
  take(): Frame | undefined {
    while (this.#have >= this.#need) {
      const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
      const view = new DataView(all.buffer, all.byteOffset);
      const [message, attachment] = [view.getUint32(0, true), view.getUint32(4, true)];
      this.#check(message, attachment);
      this.#need = HEADER_BYTES + message + attachment;
      this.#chunks = [all];
      if (this.#have < this.#need) return undefined;
      const content = all.slice(HEADER_BYTES, HEADER_BYTES + message);
      const frame = { message: parsed(Uint8Array.from(content)), attachment: all.slice(HEADER_BYTES + message, this.#need) };
      this.#chunks = [all.subarray(this.#need)];
      this.#have -= this.#need;
      this.#need = HEADER_BYTES;
      return frame;
    }
    return undefined;
  }

  #check(message: number, attachment: number): void {
    const most = this.handshake ? MAX_HANDSHAKE_BYTES : MAX_MESSAGE_BYTES;
    if (message < 8 || message % 8 || message > most) throw new ProtocolError(`a frame with a message of ${message} bytes`);
    if (attachment > (this.handshake ? 0 : MAX_ATTACHMENT_BYTES))
      throw new ProtocolError(`a frame with an attachment of ${attachment} bytes`);
  }
}

function parsed(content: Uint8Array): $.Message {
  try {
    return new $.Message(content, false);
  } catch (error) {
    throw new ProtocolError(`a message that cannot be read: ${(error as Error).message}`);
  }
}

// ---- data: capnp-es fills fields from Data only

export function bytesOf(data: $.Data): Uint8Array {
  return Uint8Array.from(data.toUint8Array());
}

export function dataOf(bytes: Uint8Array): $.Data {
  const data = newMessage().initRoot(Proof)._initMac(bytes.length);
  data.copyBuffer(bytes);
  return data;
}

export function u64Column(entries: number[]): $.Data {
  return dataOf(new Uint8Array(BigUint64Array.from(entries, BigInt).buffer));
}

export function u32Column(entries: number[]): $.Data {
  return dataOf(new Uint8Array(Uint32Array.from(entries).buffer));
}

export function readU64Column(data: $.Data): number[] {
  return Array.from(new BigUint64Array(wholeEntries(data, 8)), Number);
}

export function readU32Column(data: $.Data): number[] {
  return Array.from(new Uint32Array(wholeEntries(data, 4)));
}

function wholeEntries(data: $.Data, width: number): ArrayBuffer {
  const bytes = bytesOf(data);
  if (bytes.length % width) throw new ProtocolError("a column that ends in the middle of an entry");
  return bytes.buffer as ArrayBuffer;
}
