/**
 * Kubernetes' `ExecCredential` (client.authentication.k8s.io), by which kubectl and its like ask a program for a token. Pure.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { isObject } from "./is_object.ts";
import { visibleJson } from "./visible.ts";

/** What the caller wants. */
export interface ExecRequest {
  /** The version of the answer. */
  readonly apiVersion: string;
  /** Whether the person at the terminal may be asked; `undefined`: the caller is too old to say. */
  readonly isInteractive: boolean | undefined;
}

const GROUP = "client.authentication.k8s.io";
const VERSIONS = [`${GROUP}/v1`, `${GROUP}/v1beta1`];

/**
 * Reads what a caller says in `KUBERNETES_EXEC_INFO`.
 *
 * @param text What the variable has; `undefined` when it is not set, as by kubectl before 1.20 and by people.
 * @throws {LatchkeyError} `configuration` when that is no `ExecCredential`, or one of a version that is not known.
 */
export function readExecInfo(text: string | undefined): ExecRequest {
  if (text === undefined) return { apiVersion: `${GROUP}/v1beta1`, isInteractive: undefined };
  let info: unknown;
  try {
    info = JSON.parse(text);
  } catch {
    throw malformed("it is not JSON");
  }
  if (!isObject(info)) throw malformed("it is not a JSON object");
  const { kind, apiVersion, spec = {} } = info;
  if (kind !== "ExecCredential") throw malformed(`its kind is not "ExecCredential"`);
  if (typeof apiVersion !== "string") throw malformed("its apiVersion is missing");
  if (!VERSIONS.includes(apiVersion)) {
    throw new LatchkeyError("configuration", `Cannot answer in ${JSON.stringify(apiVersion)}`, {
      hint: `Set apiVersion: ${VERSIONS.join(" or ")} in the exec section of the kubeconfig`,
    });
  }
  if (!isObject(spec)) throw malformed("its spec is not an object");
  const { interactive } = spec;
  if (interactive !== undefined && typeof interactive !== "boolean") {
    throw malformed("its spec.interactive is neither true nor false");
  }
  return { apiVersion, isInteractive: interactive };
}

function malformed(why: string): LatchkeyError {
  return new LatchkeyError("configuration", `Cannot use KUBERNETES_EXEC_INFO: ${why}`, {
    hint: "kubectl sets it; where another program does, it has to be an ExecCredential",
  });
}

/** Writes the answer; times have whole seconds, as RFC 3339 has them. */
export function writeExecCredential(
  apiVersion: string,
  { accessToken: token, expiresOn }: { readonly accessToken: string; readonly expiresOn: Date },
): string {
  const expirationTimestamp = `${expiresOn.toISOString().slice(0, -5)}Z`;
  return `${visibleJson({ apiVersion, kind: "ExecCredential", status: { expirationTimestamp, token } })}\n`;
}
