"""nervus as a policy of LeRobot (the extra `nervus[lerobot]`).

    import nervus.lerobot
    policy = nervus.lerobot.NervusPolicy.from_checkpoint("lingbot-vla-4b", robot="aloha", device="cuda:0")
    action = policy.select_action(batch)

After the import LeRobot knows the policy type "nervus": `get_policy_class("nervus")` and `make_pre_post_processors`.
"""
from nervus.lerobot.configuration_nervus import NervusConfig
from nervus.lerobot.modeling_nervus import NervusPolicy
from nervus.lerobot.processor_nervus import make_nervus_pre_post_processors

__all__ = ["NervusConfig", "NervusPolicy", "make_nervus_pre_post_processors"]
