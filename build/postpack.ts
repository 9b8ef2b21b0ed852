// After npm has packed: restores the checkout's package.json.
import { renameSync } from "node:fs";
import { CHECKOUT_MANIFEST, PACKAGE_MANIFEST } from "./manifests.ts";

renameSync(CHECKOUT_MANIFEST, PACKAGE_MANIFEST);
