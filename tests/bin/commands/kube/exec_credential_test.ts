import { describe, expect, test } from "bun:test";
import { readExecInfo, writeExecCredential } from "../../../../bin/commands/kube/kube.ts";

const GROUP = "client.authentication.k8s.io";
const info = (more: object, version = "v1") =>
  JSON.stringify({ kind: "ExecCredential", apiVersion: `${GROUP}/${version}`, ...more });

describe("readExecInfo()", () => {
  test.each(["v1", "v1beta1"])("takes %s, and whether a person may be asked", (version) => {
    const apiVersion = `${GROUP}/${version}`;
    expect(readExecInfo(info({ spec: { interactive: false } }, version))).toEqual({ apiVersion, isInteractive: false });
    expect(readExecInfo(info({ spec: { interactive: true, cluster: { server: "https://a" } } }, version))).toEqual({
      apiVersion,
      isInteractive: true,
    });
    expect(readExecInfo(info({}, version))).toEqual({ apiVersion, isInteractive: undefined });
  });

  test("is v1beta1 where the caller says nothing: those that are so old know no other", () => {
    expect(readExecInfo(undefined)).toEqual({ apiVersion: `${GROUP}/v1beta1`, isInteractive: undefined });
  });

  test.each([
    ["not JSON", "{"],
    ["no object", "[]"],
    ["no object", "null"],
    ["another kind", info({ kind: "Config" })],
    ["no version", info({ apiVersion: undefined })],
    ["a version that is no text", info({ apiVersion: 1 })],
    ["a version that is not known", info({}, "v1alpha1")],
    ["another group", info({ apiVersion: "v1" })],
    ["a spec that is none", info({ spec: [] })],
    ["an answer that is none", info({ spec: { interactive: "false" } })],
  ])("refuses %s: %s", (_, text) => {
    expect(() => readExecInfo(text)).toThrow(expect.objectContaining({ name: "LatchkeyError", code: "configuration" }));
  });

  test("says what a version is to be", () => {
    expect(() => readExecInfo(info({}, "v1alpha1"))).toThrow(
      expect.objectContaining({ hint: expect.stringContaining(`apiVersion: ${GROUP}/v1 or ${GROUP}/v1beta1`) }),
    );
  });
});

test("writeExecCredential() writes the version that was asked for, and whole seconds", () => {
  const text = writeExecCredential(`${GROUP}/v1`, { accessToken: "token", expiresOn: new Date(1_800_000_000_999) });
  expect(JSON.parse(text)).toEqual({
    apiVersion: `${GROUP}/v1`,
    kind: "ExecCredential",
    status: { expirationTimestamp: "2027-01-15T08:00:00Z", token: "token" },
  });
  expect(text).toEndWith("}\n");
});
