// A certificate authority of a test's own: X.509 (RFC 5280) written by hand, since no runtime can make a certificate.
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";

/** A certificate and its key, both as PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** An authority that nobody trusts until told to. */
export interface CertificateAuthority {
  /** The authority's own certificate as PEM. */
  readonly cert: string;
  /** Makes a certificate of a server for host names and IPv4 addresses; `notAfter` in the past makes an expired one. */
  issue(hosts: readonly string[], notAfter?: Date): Certificate;
}

/** Makes an authority. */
export function makeCertificateAuthority(name = "Contoso test authority"): CertificateAuthority {
  const authority = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const issuer = { name, key: authority.privateKey, publicKey: authority.publicKey };
  const own = { name, publicKey: authority.publicKey, extensions: [basicConstraints(true), keyUsage(0x01, 0x06)] };
  return {
    cert: certificate(issuer, own),
    issue(hosts, notAfter) {
      const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const extensions = [
        basicConstraints(false),
        keyUsage(0x07, 0x80),
        SERVER_AUTHENTICATION,
        alternativeNames(hosts),
      ];
      return {
        cert: certificate(issuer, { name: hosts[0]!, publicKey, extensions, notAfter }),
        key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
      };
    },
  };
}

const DAY_MS = 86_400_000;

interface Issuer {
  readonly name: string;
  readonly key: KeyObject;
  readonly publicKey: KeyObject;
}

interface Subject {
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly extensions: readonly Uint8Array[];
  readonly notAfter?: Date | undefined;
}

function certificate(issuer: Issuer, subject: Subject): string {
  const { notAfter = new Date(Date.now() + DAY_MS) } = subject;
  const toBeSigned = sequence(
    tag(0xa0, integer([2])),
    integer([0x01, ...randomBytes(8)]),
    ECDSA_WITH_SHA256,
    distinguishedName(issuer.name),
    sequence(time(new Date(notAfter.getTime() - 2 * DAY_MS)), time(notAfter)),
    distinguishedName(subject.name),
    subject.publicKey.export({ type: "spki", format: "der" }),
    tag(0xa3, sequence(...subject.extensions, subjectKey(subject.publicKey), authorityKey(issuer.publicKey))),
  );
  const signature = sign("sha256", toBeSigned, { key: issuer.key, dsaEncoding: "der" });
  const base64 = Buffer.from(sequence(toBeSigned, ECDSA_WITH_SHA256, bits(signature))).toString("base64");
  return `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}(?=.)/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
}

/** DER (X.690): a tag, the length, what is in it. */
function tag(number: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(contents);
  const { length } = content;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Uint8Array.from([number, ...size]), content]);
}

const sequence = (...items: readonly Uint8Array[]): Uint8Array => tag(0x30, ...items);
const integer = (bytes: readonly number[]): Uint8Array => tag(0x02, Uint8Array.from(bytes));
const bits = (bytes: Uint8Array, unused = 0): Uint8Array => tag(0x03, Uint8Array.from([unused]), bytes);
const object = (...bytes: readonly number[]): Uint8Array => tag(0x06, Uint8Array.from(bytes));
const text = (number: number, value: string): Uint8Array => tag(number, new TextEncoder().encode(value));
const time = (date: Date): Uint8Array => text(0x18, date.toISOString().replace(/[-:T]|\.\d+/g, ""));
const distinguishedName = (name: string): Uint8Array =>
  sequence(tag(0x31, sequence(object(0x55, 0x04, 0x03), text(0x0c, name))));

const ECDSA_WITH_SHA256 = sequence(object(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));

/** An extension of the arc 2.5.29. */
function extension(number: number, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? [tag(0x01, Uint8Array.from([0xff]))] : [];
  return sequence(object(0x55, 0x1d, number), ...flag, tag(0x04, value));
}

const basicConstraints = (authority: boolean): Uint8Array =>
  extension(0x13, true, authority ? sequence(tag(0x01, Uint8Array.from([0xff]))) : sequence());
const keyUsage = (unused: number, flags: number): Uint8Array =>
  extension(0x0f, true, bits(Uint8Array.from([flags]), unused));
const SERVER_AUTHENTICATION = extension(
  0x25,
  false,
  sequence(object(0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01)),
);
const subjectKey = (key: KeyObject): Uint8Array => extension(0x0e, false, tag(0x04, keyIdentifier(key)));
const authorityKey = (key: KeyObject): Uint8Array => extension(0x23, false, sequence(tag(0x80, keyIdentifier(key))));
const keyIdentifier = (key: KeyObject): Uint8Array =>
  createHash("sha1").update(key.export({ type: "spki", format: "der" })).digest();

function alternativeNames(hosts: readonly string[]): Uint8Array {
  const isAddress = (host: string): boolean => /^[\d.]+$/.test(host);
  const names = hosts.map((host) =>
    isAddress(host) ? tag(0x87, Uint8Array.from(host.split(".").map(Number))) : text(0x82, host)
  );
  return extension(0x11, false, sequence(...names));
}
