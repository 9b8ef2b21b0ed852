/**
 * `latchkey kube --install` and `--uninstall`: the user entries of a kubeconfig that make kubectl run latchkey.
 *
 * @module
 */
import type { JsonObject } from "../../../lib/encoding.ts";
import { changeSharedFile } from "../../../lib/files/placed_file.ts";
import { readPrivateFile, removePrivateFile, replacePrivateFile } from "../../../lib/files/private_files.ts";
import { quoteCommand } from "../../../lib/runtime/host.ts";
import { isThere } from "../../../lib/runtime/path.ts";
import { print, say } from "../../cli/output.ts";
import { escapeForTerminal } from "../../../lib/control_characters.ts";
import {
  type ClusterIds,
  environmentIn,
  type ExecSection,
  execSection,
  idsToTake,
  isOwn,
  isRunBy,
  requireUserLogin,
} from "./exec_section.ts";
import {
  type Cluster,
  clusterOf,
  contextsOf,
  credentialsIn,
  findEntry,
  type Kubeconfig,
  namesIn,
  parseKubeconfig,
  readKubeconfig,
  readKubeconfigs,
  userOf,
  withUser,
  yamlOf,
} from "./kubeconfig.ts";

/** The command that clients are to run. */
interface InstalledCommand {
  readonly apiVersion: string;
  /** True if the command may ask the user when kubectl runs at a terminal. */
  readonly mayAsk: boolean;
  /** Command of this latchkey, without ids that the kubeconfig may know. */
  readonly command: readonly string[];
  /** Ids that the user named. */
  readonly named: ClusterIds;
  /** Returns the command with ids that the kubeconfig knows. */
  readonly commandFor: (known: ClusterIds) => readonly string[];
}

/** Keys of a user that make kubectl act as another user. */
const IMPERSONATION = ["as", "as-uid", "as-groups", "as-user-extra"];

/**
 * Makes clients of a context's cluster run latchkey: changes the context's user, and no more of the kubeconfig. What signed the
 * user in before is kept in a file of its own. Prints what was written.
 *
 * @throws {UsageError} if there is no such context, its user signs in as an app, or the kubeconfig has ids that only the user may
 * choose.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if a kubeconfig cannot be read or written.
 */
export async function installExec(context: string, exec: InstalledCommand): Promise<void> {
  const files = await readKubeconfigs();
  const { user, file } = userOf(files, context);
  const cluster = clusterOf(files, context);
  const sharing = contextsOf(files, user).filter((name) => name !== context);
  const place = `the user ${JSON.stringify(user)} in ${file.path}`;
  let change: UserChange | undefined;
  await changeSharedFile(file.path, async ({ text, target }) => {
    const config = parseKubeconfig(file.path, text);
    const old = credentialsIn(config, user);
    requireUserLogin(old.exec, { user, context });
    const ids = idsToTake(old.exec, { named: exec.named, cluster });
    const environment = environmentIn(old.exec, exec.command);
    const section = execSection(exec.commandFor(ids), { ...exec, env: environment.kept });
    const isDone = JSON.stringify(old.exec) === JSON.stringify(section) && old.keys.length === 1;
    const impersonating = Object.keys(old.others).filter((key) => IMPERSONATION.includes(key));
    change = { ...{ section, isDone, ids, impersonating, target }, dropped: environment.dropped, before: [] };
    if (isDone) return undefined;
    const isReplaced = !isRunBy(old.exec, exec.command) || environment.dropped.length > 0;
    change = { ...change, before: await keep(target, { user, config, isReplaced }) };
    return withUser(config, user, { ...old.others, exec: section });
  });
  if (!change) return;
  const entry = yamlOf({ users: [{ name: user, user: { exec: change.section } }] });
  print(entry.split("\n").map(escapeForTerminal).join("\n"));
  const undo = quoteCommand(["latchkey", "kube", "--uninstall", "--context", context]);
  say(`${change.isDone ? "had already written" : "wrote"} ${place}; the context ${context} uses it. To undo: ${undo}`);
  sayTaken(change, cluster);
  if (sharing.length > 0) {
    say(`other contexts have the same user, and now run latchkey, too: ${sharing.join(", ")}`);
  }
}

/** A change of a user's entry. */
interface UserChange {
  readonly section: ExecSection;
  /** True if the entry was so before. */
  readonly isDone: boolean;
  /** Ids that come from the entry before. */
  readonly ids: ClusterIds;
  /** Keys of the entry, which stay, by which kubectl acts as another user. */
  readonly impersonating: readonly string[];
  /** Names of variables that the entry had before, and has no longer. */
  readonly dropped: readonly string[];
  /** Names of the keys of the entry before that were kept. */
  readonly before: readonly string[];
  readonly target: string;
}

/** Says what came from the entry that was there before, what did not, and where the rest is. */
function sayTaken({ ids, impersonating, dropped, before, target }: UserChange, { server }: Cluster): void {
  const { serverId, tenant } = ids;
  const taken = [
    ...(serverId === undefined ? [] : [`--server-id=${serverId} (Azure Kubernetes Service)`]),
    ...(tenant === undefined ? [] : [`--tenant=${tenant}`]),
  ];
  if (taken.length > 0) say(`taken from the entry before it: ${taken.join(", ")}. The tokens go to ${server}`);
  if (dropped.length > 0) say(`not taken from the entry before it: env ${dropped.map(escapeForTerminal).join(", ")}`);
  if (impersonating.length > 0) {
    say(`the entry still has ${impersonating.join(", ")}: with your token, kubectl acts as the user that this names`);
  }
  if (before.length > 0) {
    say(`what it had before (${before.join(", ")}) is in ${keptPath(target)}; --uninstall brings it back`);
  }
}

/**
 * Removes what {@linkcode installExec} wrote, for the user of a context or for all, and brings back what was there before.
 *
 * @throws {UsageError} if there is no such context.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if a kubeconfig cannot be read or written.
 */
export async function uninstallExec(context: string | undefined): Promise<void> {
  const files = await readKubeconfigs();
  const only = context === undefined ? undefined : userOf(files, context);
  let removed = 0;
  for (const file of only ? [only.file] : files) {
    const users = await uninstallFrom(file, only?.user);
    removed += users.length;
  }
  if (removed === 0) say("no user of the kubeconfig runs latchkey: nothing to remove");
}

/** Removes the entries of one file, for a user or for all. Returns the users that had one. */
async function uninstallFrom({ path }: Kubeconfig, onlyUser: string | undefined): Promise<readonly string[]> {
  const changed: string[] = [];
  await changeSharedFile(path, async ({ text, target }) => {
    let config = parseKubeconfig(path, text);
    const kept = await readKept(target);
    for (const user of onlyUser === undefined ? namesIn(config, "users") : [onlyUser]) {
      const restored = restoreUser(config, kept, user);
      if (restored === undefined) continue;
      config = restored;
      changed.push(user);
    }
    return changed.length > 0 ? config.text : undefined;
  }, (target) => forget(target, changed));
  return changed;
}

/** Gives a user what it had before, and says so. Returns `undefined` if the user does not run latchkey. */
function restoreUser(config: Kubeconfig, kept: Kubeconfig | undefined, user: string): Kubeconfig | undefined {
  const { exec, others } = credentialsIn(config, user);
  if (!exec || !isOwn(exec)) return undefined;
  const old = kept && findEntry(kept, "users", user) ? credentialsIn(kept, user) : undefined;
  const restored = old ? { ...others, ...old.credentials } : others;
  const changed = parseKubeconfig(config.path, withUser(config, user, restored));
  print(`${user}\n`);
  const now = old ? `; it has this again: ${old.keys.map((key) => nameOf(key, old.exec)).join(", ")}` : "";
  say(`the user ${JSON.stringify(user)} in ${config.path} no longer runs latchkey${now}`);
  return changed;
}

/** Returns a key of a user for a message; of `exec` with its command. */
function nameOf(key: string, exec: JsonObject | undefined): string {
  return key === "exec" && exec ? `exec of ${escapeForTerminal(String(exec.command))}` : key;
}

/** Path of what a kubeconfig had before; of a link, next to the file that it leads to. No client takes it for a kubeconfig. */
function keptPath(target: string): string {
  return `${target}.before-latchkey`;
}

/** Reads what was kept. Another user could have put it there, and would choose what kubectl runs. */
async function readKept(target: string): Promise<Kubeconfig | undefined> {
  const path = keptPath(target);
  const bytes = isThere(path) ? await readPrivateFile(path) : undefined;
  return bytes && parseKubeconfig(path, new TextDecoder().decode(bytes));
}

const KEPT = "# Kept by latchkey kube --install, and brought back by latchkey kube --uninstall. It can have secrets.\n";

async function writeKept(target: string, text: string): Promise<void> {
  await replacePrivateFile(keptPath(target), new TextEncoder().encode(text));
}

/**
 * Keeps what signs a user in, in place of what was kept of that user before; in addition to it if the user runs latchkey, as after
 * `kubectl config set-credentials`. Returns the names of what was kept.
 */
async function keep(
  target: string,
  { user, config, isReplaced }: {
    readonly user: string;
    readonly config: Kubeconfig;
    /** True if the `exec` section is another one than this latchkey would write. */
    readonly isReplaced: boolean;
  },
): Promise<readonly string[]> {
  const old = credentialsIn(config, user);
  const { exec, ...others } = old.credentials;
  const isLatchkey = old.exec !== undefined && isOwn(old.exec);
  if (Object.keys(others).length === 0 && (exec === undefined || isLatchkey && !isReplaced)) return [];
  const kept = await readKept(target);
  const earlier = isLatchkey && kept ? credentialsIn(kept, user).credentials : {};
  const isExecKept = exec !== undefined && isReplaced && earlier.exec === undefined;
  const credentials = { ...earlier, ...others, ...(isExecKept && { exec }) };
  const names = [...Object.keys(others), ...(isExecKept ? [nameOf("exec", old.exec)] : [])];
  if (names.length === 0) return [];
  await writeKept(
    target,
    kept ? withUser(kept, user, credentials) : `${KEPT}${yamlOf({ users: [{ name: user, user: credentials }] })}`,
  );
  return names;
}

/** Removes from the kept entries those that are back; finally the file. */
async function forget(target: string, back: readonly string[]): Promise<void> {
  const kept = await readKept(target);
  if (!kept) return;
  const config = await readKubeconfig(target);
  const left = namesIn(kept, "users").filter((user) => {
    const { exec } = credentialsIn(config, user);
    return !back.includes(user) && exec && isOwn(exec);
  });
  if (left.length === 0) return await removePrivateFile(keptPath(target));
  const users = left.map((name) => ({ name, user: credentialsIn(kept, name).credentials }));
  await writeKept(target, `${KEPT}${yamlOf({ users })}`);
}
