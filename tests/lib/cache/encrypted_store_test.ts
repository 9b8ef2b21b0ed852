import { expect, test } from "bun:test";
import { decrypt, encrypt, type KeyBytes, keyIdOf } from "../../../lib/cache/encrypted_store.ts";

const PLACE = { name: "a.encrypted" };
const TEXT = 'tökens of {"jane@contoso.com"}';

function newKey(id: string = crypto.randomUUID()): KeyBytes {
  return { id, bytes: crypto.getRandomValues(new Uint8Array(32)) };
}

async function encrypted(key: KeyBytes): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await encrypt(TEXT, key, PLACE));
}

test("decrypt() reads what encrypt() made, and the empty text, too", async () => {
  const key = newKey();
  expect(await decrypt(await encrypted(key), key, PLACE)).toBe(TEXT);
  expect(await decrypt(new Uint8Array(await encrypt("", key, PLACE)), key, PLACE)).toBe("");
});

test("encrypt() makes something else each time, in which the text is not", async () => {
  const key = newKey(), [one, other] = [await encrypted(key), await encrypted(key)];
  expect(one).not.toEqual(other);
  expect(new TextDecoder().decode(one)).not.toContain("jane");
});

test("keyIdOf() tells the key, and nothing of what is not encrypted", async () => {
  const key = newKey();
  expect(keyIdOf(await encrypted(key))).toBe(key.id);
  expect(keyIdOf(new TextEncoder().encode('{"AccessToken":{}} and so on, long enough'))).toBeUndefined();
  expect(keyIdOf(new Uint8Array())).toBeUndefined();
});

test("decrypt() reads nothing that was changed, in whatever byte", async () => {
  const key = newKey(), whole = await encrypted(key);
  for (let index = 0; index < whole.length; index++) {
    const changed = whole.slice();
    changed[index]! ^= 1;
    expect(await decrypt(changed, key, PLACE)).toBeUndefined();
  }
});

test("decrypt() reads nothing that was cut short, at whatever byte", async () => {
  const key = newKey(), whole = await encrypted(key);
  for (let length = 0; length < whole.length; length++) {
    expect(await decrypt(whole.slice(0, length), key, PLACE)).toBeUndefined();
  }
});

test("decrypt() reads nothing of another key, nor of another place", async () => {
  const key = newKey(), whole = await encrypted(key);
  expect(await decrypt(whole, newKey(), PLACE)).toBeUndefined();
  expect(await decrypt(whole, newKey(key.id), PLACE)).toBeUndefined();
  expect(await decrypt(whole, key, { name: "b.encrypted" })).toBeUndefined();
});

test("encrypt() refuses a key that has no UUID", async () => {
  await expect(encrypt(TEXT, newKey("jane"), PLACE)).rejects.toThrow(TypeError);
});
