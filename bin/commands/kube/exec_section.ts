/**
 * The `exec` section of a kubeconfig's user: the one that latchkey writes, which program one runs, and what of it may be taken over.
 *
 * @module
 */
import { isGuid, isObject, type JsonObject } from "../../../lib/encoding.ts";
import { AKS_SERVER, microsoftApiOf } from "../../../lib/oauth/microsoft_apps.ts";
import { quoteCommand } from "../../../lib/runtime/host.ts";
import { ownCommand } from "../../../lib/runtime/installation.ts";
import { UsageError } from "../../cli/command_line.ts";
import { escapeForTerminal } from "../../../lib/control_characters.ts";
import { PROGRAM } from "../../cli/stored_command.ts";
import type { Cluster } from "./kubeconfig.ts";

/** Ids of a cluster, which kubelogin's arguments name as latchkey's do, or with `-id`. */
export interface ClusterIds {
  readonly serverId?: string | undefined;
  readonly tenant?: string | undefined;
}

/** The `exec` section that `latchkey kube --install` writes. */
export interface ExecSection {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: readonly Variable[];
  readonly interactiveMode: "Never" | "IfAvailable";
  readonly provideClusterInfo: boolean;
}

/** Returns the section that makes clients run a command of latchkey. */
export function execSection(
  [command = "", ...args]: readonly string[],
  { apiVersion, mayAsk, env }: {
    readonly apiVersion: string;
    readonly mayAsk: boolean;
    readonly env: readonly Variable[];
  },
): ExecSection {
  return {
    apiVersion,
    command,
    args,
    ...(env.length > 0 && { env }),
    interactiveMode: mayAsk ? "IfAvailable" : "Never",
    provideClusterInfo: false,
  };
}

/**
 * Variables of an `exec` section that stay: they choose among what is the user's own, or how the user is asked. All others could
 * come from the author of the file, and run code, name another authority, or read and write files.
 */
const KEPT_VARIABLES = [
  ...["LATCHKEY_ACCOUNT", "LATCHKEY_PROFILE", "LATCHKEY_BROKER", "LATCHKEY_INTERACTIVE", "LATCHKEY_MIN_TTL"],
  ...["LATCHKEY_TIMEOUT", "LATCHKEY_VERBOSE"],
];

function wordsOf({ command, args }: Readonly<Record<string, unknown>>): readonly string[] {
  return [command, ...(Array.isArray(args) ? args : [])].map(String);
}

/**
 * Returns true for an `exec` section that runs latchkey, as this program writes it and as people type it. `own` is this latchkey's
 * command: an executable can have any name.
 */
export function isOwn(
  exec: Readonly<Record<string, unknown>>,
  own: readonly string[] = ownCommand(() => []),
): boolean {
  const words = wordsOf(exec);
  const at = words.indexOf("kube");
  const isExecutable = own.length === 1 && at === 1;
  return at > 0 && (RUNS_LATCHKEY.test(words[at - 1]!) || isExecutable && words[0] === own[0]);
}

const RUNS_LATCHKEY = new RegExp(String.raw`(^|[\\/])${PROGRAM}$`, "i");

/** Returns true if an `exec` section runs a command of this latchkey, whatever the options are. */
export function isRunBy(exec: JsonObject | undefined, command: readonly string[]): boolean {
  const words = exec ? wordsOf(exec) : [];
  const program = command.slice(0, command.indexOf("kube") + 1);
  return program.every((word, index) => words[index] === word);
}

/** A variable of an `exec` section. */
export interface Variable {
  readonly name: string;
  readonly value: string;
}

/** The environment of an `exec` section that runs latchkey. */
interface SectionEnvironment {
  /** Variables that the new section keeps: of those that this latchkey wrote, or the user added to it. */
  readonly kept: readonly Variable[];
  /** Names of the others. */
  readonly dropped: readonly string[];
}

/** Divides the environment of an `exec` section. That of another program's moves with its section, and is not looked at. */
export function environmentIn(exec: JsonObject | undefined, command: readonly string[]): SectionEnvironment {
  if (!exec || !isOwn(exec)) return { kept: [], dropped: [] };
  const entries: readonly unknown[] = Array.isArray(exec.env) ? exec.env : [];
  const isOurs = isRunBy(exec, command);
  const kept = entries.flatMap((entry): readonly Variable[] => {
    if (!isOurs || !isObject(entry)) return [];
    const { name, value } = entry;
    if (typeof name !== "string" || typeof value !== "string" || !KEPT_VARIABLES.includes(name)) return [];
    return [{ name, value }];
  });
  const names = entries.map((entry) => isObject(entry) ? String(entry.name) : "without a name");
  return { kept, dropped: names.filter((name) => !kept.some((variable) => variable.name === name)) };
}

/** kubelogin's ways to sign a user in. All others, also those that are not known here, sign in an app. */
const USER_LOGINS = ["devicecode", "interactive", "azurecli", "azd", "ropc"];

/**
 * Refuses to replace an app's sign-in by a user's, and an entry of kubelogin that is not understood.
 *
 * @throws {UsageError} if an `exec` section runs kubelogin for an app, or otherwise than to get a token.
 */
export function requireUserLogin(
  exec: JsonObject | undefined,
  { user, context }: { user: string; context: string },
): void {
  if (!exec || !runsKubelogin(exec)) return;
  const login = kubelogin(exec)?.login;
  if (login !== undefined && USER_LOGINS.includes(login)) return;
  const fix = quoteCommand(["kubectl", "config", "set-context", context, `--user=${context}-latchkey`]);
  const what = login === undefined
    ? "runs kubelogin without get-token, so latchkey cannot tell whether it signs in a user"
    : `signs in as an app (kubelogin --login ${escapeForTerminal(login)}), and latchkey kube signs in a user`;
  const keep = login === undefined ? "Keep kubelogin" : "Keep kubelogin for the app";
  throw new UsageError(
    `The user ${
      JSON.stringify(user)
    } ${what}. ${keep}; to use latchkey in this context, give the context a user of its own ` +
      `(${fix}), then run this again with --server-id and --tenant`,
  );
}

function runsKubelogin(exec: Readonly<Record<string, unknown>>): boolean {
  return /(^|[\\/])kubelogin(\.exe)?$/i.test(wordsOf(exec)[0]!);
}

/** Returns what kubelogin's arguments say; `undefined` for another program, and another command than `get-token`. */
export function kubelogin(
  exec: Readonly<Record<string, unknown>> | undefined,
): ClusterIds & { readonly login: string } | undefined {
  if (!exec || !runsKubelogin(exec)) return undefined;
  const words = wordsOf(exec);
  // Flags, such as -v 5, can stand before the command.
  if (!words.includes("get-token")) return undefined;
  // Of several values the last one counts. A short name can stand right before its value.
  const valueOf = (name: string, short?: string): string | undefined => {
    const isShort = (word: string) => short !== undefined && word.startsWith(short) && !word.startsWith("--");
    const at = words.findLastIndex((word) => word === name || word.startsWith(`${name}=`) || isShort(word));
    const word = words[at] ?? "";
    const attached = isShort(word) ? word.slice(short!.length).replace(/^=/, "") : word.slice(name.length + 1);
    return at === -1 ? undefined : attached || words[at + 1];
  };
  const variables: readonly unknown[] = Array.isArray(exec.env) ? exec.env : [];
  // Of several variables of one name, a process gets the last.
  const variable = variables.findLast((each) => isObject(each) && each.name === "AAD_LOGIN_METHOD");
  const methods = [valueOf("--login", "-l"), isObject(variable) ? String(variable.value) : undefined]
    .filter((method) => method !== undefined);
  return {
    serverId: valueOf("--server-id"),
    tenant: valueOf("--tenant-id", "-t"),
    // Which of the two counts depends on another flag: an app's sign-in in either is one.
    login: methods.find((method) => !USER_LOGINS.includes(method)) ?? methods[0] ?? "devicecode",
  };
}

/**
 * Returns the ids of kubelogin's arguments that may be taken without a question: the id that all clusters of Azure Kubernetes
 * Service share, if the token goes to one of them, since it is good at all clusters of the user's tenant; and the id of a tenant.
 *
 * @throws {UsageError} if the arguments have others: the author of the file would choose what the user's token is for.
 */
export function idsToTake(
  exec: JsonObject | undefined,
  { named, cluster: { server, isAks } }: { readonly named: ClusterIds; readonly cluster: Cluster },
): ClusterIds {
  const known = kubelogin(exec);
  const serverId = named.serverId === undefined ? known?.serverId : undefined;
  const tenant = named.tenant === undefined ? known?.tenant : undefined;
  if (serverId?.toLowerCase() === AKS_SERVER && !isAks) {
    throw new UsageError(
      `The kubeconfig wants tokens for Azure Kubernetes Service to go to ${server}, which is none of its servers, or is ` +
        "reached in an unusual way (a proxy, another TLS name, no check of its certificate). The server could use them at " +
        `every cluster of your tenant. Only if you trust it with that, name the app: ${
          quoteCommand([["--server-id", serverId]])
        }`,
    );
  }
  if (serverId !== undefined && serverId.toLowerCase() !== AKS_SERVER) {
    const name = microsoftApiOf(serverId);
    const wanted = `The kubeconfig wants tokens for ${
      name ?? `the app ${JSON.stringify(serverId)}`
    } to go to ${server}`;
    throw new UsageError(
      name === undefined
        ? `${wanted}. If the cluster accepts these, name the app: ${quoteCommand([["--server-id", serverId]])}`
        : `${wanted}. No cluster accepts these, and its server could use them as you: do not trust this file`,
    );
  }
  if (tenant !== undefined && !isGuid(tenant)) {
    throw new UsageError(
      `The kubeconfig wants tokens of the tenant ${
        JSON.stringify(tenant)
      } to go to ${server}. If that is the cluster's ` +
        `tenant, name it: ${quoteCommand([["--tenant", tenant]])}`,
    );
  }
  return { serverId, tenant };
}
