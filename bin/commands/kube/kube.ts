/**
 * `latchkey kube`: a credential plugin for kubectl and other clients (`ExecCredential`, client.authentication.k8s.io).
 *
 * @module
 */
import { mayReadEnvironment, readEnvironment } from "../../../lib/runtime/host.ts";
import { isGuid, isObject } from "../../../lib/encoding.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { defaultScope, resourceOf } from "../../../lib/scopes.ts";
import { clientIdOf } from "../../cli/application.ts";
import { type Command, type CommandLine, UsageError } from "../../cli/command_line.ts";
import {
  ACCOUNT,
  APP,
  BROWSER,
  FORCE_REFRESH,
  INTERACTIVE,
  MIN_TTL,
  TENANT,
  TIMEOUT,
  VERBOSE,
} from "../../cli/options.ts";
import { print } from "../../cli/output.ts";
import { jsonForTerminal } from "../../../lib/control_characters.ts";
import { microsoftApiOf } from "../../../lib/oauth/microsoft_apps.ts";
import { interactiveOf, openTokens } from "../../cli/tokens.ts";

/** The command. */
export const command: Command = {
  name: "kube",
  summary: "Credential plugin for kubectl",
  usage: "kube --client-id ID --server-id ID [--install --context NAME | --uninstall] [options]",
  operands: 0,
  options: [
    {
      name: "server-id",
      kind: "text",
      value: "ID",
      summary: "App of the cluster: a GUID or a URL",
    },
    {
      name: "install",
      kind: "switch",
      environment: false,
      summary: "Write this plugin and the other options to a user of the kubeconfig",
    },
    { name: "uninstall", kind: "switch", environment: false, summary: "Restore what the user had before" },
    {
      name: "context",
      kind: "text",
      value: "NAME",
      environment: false,
      summary: "Context whose user is changed; --uninstall without it restores all users",
    },
    ACCOUNT,
    ...APP,
    TENANT,
    {
      ...INTERACTIVE,
      meanings: { ...INTERACTIVE.meanings, auto: "If stdin and stderr are terminals, and kubectl allows it" },
    },
    ...BROWSER,
    FORCE_REFRESH,
    MIN_TTL,
    TIMEOUT,
    VERBOSE,
  ],
  examples: [
    [
      "latchkey kube --client-id azure-cli --server-id 6dae42f8-4368-4678-94ff-3960e28e3630",
      "Print a credential for Azure Kubernetes Service, as a kubeconfig's exec section does",
    ],
    [
      "latchkey kube --install --context contoso --client-id azure-cli --server-id 6dae42f8-4368-4678-94ff-3960e28e3630",
      "Write that section for one context",
    ],
    ["latchkey kube --uninstall --context contoso", "Restore the kubeconfig"],
  ],
  run: runKube,
};

interface ExecRequest {
  readonly apiVersion: string;
  /** True if the plugin may prompt; `undefined` if the caller is too old to say. */
  readonly isInteractive: boolean | undefined;
}

const GROUP = "client.authentication.k8s.io";
const VERSIONS = [`${GROUP}/v1`, `${GROUP}/v1beta1`];

/** Reads the value of `KUBERNETES_EXEC_INFO`, which kubectl before 1.20 and a shell do not set. */
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
      remedy: `Set apiVersion: ${VERSIONS.join(" or ")} in the exec section of the kubeconfig`,
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
    remedy: "Let kubectl set it, or set it to an ExecCredential",
  });
}

/** Encodes a token as an `ExecCredential`. Its times are RFC 3339 in whole seconds. */
export function writeExecCredential(
  apiVersion: string,
  { accessToken: token, expiresOn }: { readonly accessToken: string; readonly expiresOn: Date },
): string {
  const expirationTimestamp = `${expiresOn.toISOString().slice(0, -5)}Z`;
  return `${jsonForTerminal({ apiVersion, kind: "ExecCredential", status: { expirationTimestamp, token } })}\n`;
}

async function runKube(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const isInstalled = line.isOn("install");
  const isRemoved = line.isOn("uninstall");
  const context = line.text("context");
  if (isInstalled && isRemoved) throw new UsageError("--install and --uninstall exclude each other");
  if (!isInstalled && !isRemoved) {
    if (context !== undefined) throw new UsageError("--context goes with --install or --uninstall");
    return await printExecCredential(line, signal);
  }
  const { installExec, uninstallExec } = await import("./install.ts");
  if (isRemoved) return await uninstallExec(context);
  if (context === undefined) throw new UsageError("--context is missing: kubectl config get-contexts lists them");
  clientIdOf(line); // an error now is better than one in kubectl
  const { storedCommand, warnIfCopied } = await import("../../cli/stored_command.ts");
  const stored = storedCommand(line, "kube", command.options);
  const named = { serverId: line.text("server-id"), tenant: line.text("tenant") };
  await installExec(context, {
    apiVersion: `${GROUP}/v1beta1`, // the one that every client takes
    mayAsk: line.get(INTERACTIVE) !== "never",
    command: stored,
    named,
    commandFor({ serverId = named.serverId, tenant = named.tenant }) {
      const known = line.with({ "server-id": serverId, tenant });
      serverIdOf(known);
      const more = ["server-id", "tenant"].filter((name) => known.text(name) !== line.text(name));
      return [...stored, ...more.map((name) => `--${name}=${known.text(name)}`)];
    },
  });
  warnIfCopied(stored);
}

async function printExecCredential(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const scopes = [defaultScope(serverIdOf(line))];
  const { apiVersion, isInteractive } = execRequest();
  const interactive = isInteractive === false ? "never" : interactiveOf(line);
  const tokens = await openTokens(line, { interactive, signal, namesSignIn: true });
  const result = await tokens.acquire({ scopes, forceRefresh: line.isOn("force-refresh") });
  print(writeExecCredential(apiVersion, result));
}

function serverIdOf(line: CommandLine): string {
  const id = line.text("server-id");
  if (id === undefined) {
    throw new UsageError(
      "--server-id is missing: the app id of the cluster (Azure Kubernetes Service: 6dae42f8-4368-4678-94ff-3960e28e3630)",
    );
  }
  const name = resourceOf(id);
  const api = microsoftApiOf(name);
  if (api !== undefined) {
    throw new UsageError(
      `--server-id takes the app of a cluster, not ${api}: the cluster's server could use that token as you`,
    );
  }
  if (isGuid(name) || /^[a-z][a-z0-9+.-]*:\/\/[^\s,]+$/i.test(name)) return name;
  throw new UsageError(`--server-id takes a GUID, or a URL such as api://contoso, not ${JSON.stringify(id)}`);
}

/** Without the variable a caller could get a prompt that it does not allow. */
function execRequest(): ExecRequest {
  const name = "KUBERNETES_EXEC_INFO";
  if (mayReadEnvironment(name)) return readExecInfo(readEnvironment(name));
  throw new LatchkeyError("missing_dependency", `Deno may not read ${name}, the request of the caller`, {
    remedy: { kind: "run_deno_with", flags: `--allow-env=${name}` },
  });
}
