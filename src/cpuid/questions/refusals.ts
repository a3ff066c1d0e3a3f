import { type Finding, isError } from '../../td/finding.js';

/**
 * Whether KVM itself refuses what a finding is about, or nothing can be made of it. The findings that are about the module
 * are errors also where it takes the configuration and gives the TD something else than was asked for.
 */
export const isRefusedByKvm = (item: Finding): boolean => isError(item) && /^(kvm|config|trap)\./.test(item.rule);
