import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** What a commit of everything would have in it. */
export function commitableFiles(): readonly string[] {
  const { stdout, stderr, exitCode } = Bun.spawnSync(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    { cwd: root },
  );
  if (exitCode !== 0) throw new Error(`git ls-files failed: ${stderr}`);
  return stdout.toString().split("\0").filter((file) => file && existsSync(join(root, file)));
}
