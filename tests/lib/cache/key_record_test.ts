import { describe, expect, test } from "bun:test";
import { type KeyRecord, readKey, readKeyRecord, writeKeyRecord } from "../../../lib/cache/encryption_key.ts";
import { encodeBase64 } from "../../../lib/encoding.ts";

const ID = "0b6e6f5e-5c1a-4a52-9d3e-0f1de8a3c111", WHY = "it is there and can be used";
const KEY = encodeBase64(new Uint8Array(32).fill(7));
const RECORDS: readonly KeyRecord[] = [
  { id: ID, why: WHY, place: "secret-service", collection: "/org/freedesktop/secrets/collection/login" },
  { id: ID, why: WHY, place: "keychain" },
  { id: ID, why: WHY, place: "dpapi", protected: "AQAAANCMnd8BFdERjHoAwE/Cl+s=" },
  { id: ID, why: WHY, place: "file", key: KEY },
];
const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

describe("writeKeyRecord(), readKeyRecord()", () => {
  test.each(RECORDS.map((record) => [record.place, record] as const))(
    "keep what is known of a key: %s",
    (_, record) => {
      expect(readKeyRecord(writeKeyRecord(record))).toEqual(record);
    },
  );
});

describe("readKeyRecord()", () => {
  test("takes what others put beside it for nothing", () => {
    expect(readKeyRecord(bytes({ ...RECORDS[1], more: [1, 2] }))).toEqual(RECORDS[1]!);
  });

  test("knows a place of a later version from damage", () => {
    expect(readKeyRecord(bytes({ id: ID, why: WHY, place: "tpm" }))).toBe("unknown_place");
  });

  test("lets no control character through to people", () => {
    expect(readKeyRecord(bytes({ ...RECORDS[1], why: "a\u001b[31m\nb" }))).toMatchObject({ why: "a [31m b" });
    expect(readKeyRecord(bytes({ ...RECORDS[1], why: 7 }))).toMatchObject({ why: "" });
  });

  test.each([
    ["no id", { ...RECORDS[1], id: undefined }],
    ["an id that is none", { ...RECORDS[1], id: "../x" }],
    ["no place", { ...RECORDS[1], place: undefined }],
    ["a place that is a number", { ...RECORDS[1], place: 1 }],
    ["no keyring", { ...RECORDS[0], collection: undefined }],
    ["a keyring that is no path", { ...RECORDS[0], collection: "login" }],
    ["a keyring that is the root", { ...RECORDS[0], collection: "/" }],
    ["nothing protected", { ...RECORDS[2], protected: "" }],
    ["what is protected and no base64", { ...RECORDS[2], protected: "'); Remove-Item" }],
    ["no key", { ...RECORDS[3], key: undefined }],
    ["a short key", { ...RECORDS[3], key: encodeBase64(new Uint8Array(31)) }],
    ["a long key", { ...RECORDS[3], key: encodeBase64(new Uint8Array(33)) }],
    ["a key that is no base64", { ...RECORDS[3], key: "?".repeat(44) }],
    ["a list", [RECORDS[1]]],
    ["a text", "x"],
  ])("takes it for damaged: %s", (_, value) => {
    expect(readKeyRecord(bytes(value))).toBeUndefined();
  });

  test("takes what is not UTF-8 for damaged, and an id in capitals for the same id", () => {
    const text = new TextDecoder().decode(writeKeyRecord({ ...RECORDS[1]!, why: "\u00ff" }));
    expect(readKeyRecord(Uint8Array.from(text, (character) => character.charCodeAt(0)))).toBeUndefined();
    expect(readKeyRecord(bytes({ ...RECORDS[1], id: ID.toUpperCase() }))).toEqual(RECORDS[1]!);
  });

  test("takes any cut of it for damaged", () => {
    for (const record of RECORDS) {
      const whole = writeKeyRecord(record);
      for (let end = 0; end < whole.length - 2; end++) expect(readKeyRecord(whole.subarray(0, end))).toBeUndefined();
    }
  });

  test("takes any bytes", () => {
    for (let round = 0; round < 500; round++) {
      expect(readKeyRecord(crypto.getRandomValues(new Uint8Array(round)))).toBeUndefined();
    }
    expect(readKeyRecord(new TextEncoder().encode("[".repeat(100_000)))).toBeUndefined();
  });
});

describe("readKey()", () => {
  test("are each other's reverse", () => {
    for (let round = 0; round < 100; round++) {
      const key = crypto.getRandomValues(new Uint8Array(32));
      expect(readKey(encodeBase64(key))).toEqual(key);
    }
  });
});
