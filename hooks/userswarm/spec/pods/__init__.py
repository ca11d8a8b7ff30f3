"""What a Pod may say, whoever writes it: a tenant in a workload, the platform in a template.

Only what is known here may be said. Pods are brought to the *restricted* Pod Security Standard where they are
silent, and refused where they ask for less.

hardening          a Pod, completed
pods, containers   every field that may be said
shapes, words      what such a field may say
"""
